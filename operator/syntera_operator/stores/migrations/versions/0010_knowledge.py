"""Knowledge: documents, the chunks that they are cut into, their vectors and words, and the syncs that fill all of it."""

from alembic import op

from syntera_operator.stores.migrations.walls import (
    grant_columns,
    isolate,
    let_own_functions_reach,
    let_own_functions_search,
    offer_function,
)

revision = "0010"
down_revision = "0009"

_LANGUAGES = {
    "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "da": "danish", "nl": "dutch", "en": "english",
    "fi": "finnish", "fr": "french", "de": "german", "el": "greek", "hi": "hindi", "hu": "hungarian", "id": "indonesian",
    "ga": "irish", "it": "italian", "lt": "lithuanian", "ne": "nepali", "no": "norwegian", "nb": "norwegian",
    "nn": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "es": "spanish",
    "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
"""Those that PostgreSQL 16 knows."""


def upgrade() -> None:
    """The new tables in one transaction; then the table that others use, which may be done again if a run is cut off."""
    if op.get_bind().exec_driver_sql("SELECT to_regclass('syntera.knowledge_bases')").scalar() is None:
        _create_knowledge_bases()
        _create_indexes()
        _create_documents()
        _create_chunks()
        _create_vectors()
        _create_words()
        _create_syncs()
    with op.get_context().autocommit_block():
        _widen_files()


def _create_knowledge_bases() -> None:
    op.execute("""
        CREATE TABLE syntera.knowledge_bases (
          tenant_id uuid NOT NULL,
          id uuid NOT NULL,
          name text NOT NULL CHECK (name <> ''),
          last_index integer NOT NULL DEFAULT 0,
          sync_request uuid,
          created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (tenant_id, id),
          UNIQUE (tenant_id, name)
        )
    """)
    op.execute("COMMENT ON TABLE syntera.knowledge_bases IS 'What agents know, by the name of its resource'")
    op.execute("COMMENT ON COLUMN syntera.knowledge_bases.last_index IS 'Number of the index that was made last'")
    op.execute(
        "COMMENT ON COLUMN syntera.knowledge_bases.sync_request IS"
        " 'Somebody asks for a sync; the operator starts one and forgets the request. NULL: nobody does'"
    )
    op.execute("""
        CREATE INDEX knowledge_bases_requested ON syntera.knowledge_bases (tenant_id) WHERE sync_request IS NOT NULL
    """)
    isolate("knowledge_bases", update=["last_index", "sync_request"])
    let_own_functions_reach("knowledge_bases")


def _create_indexes() -> None:
    op.execute("""
        CREATE TABLE syntera.knowledge_indexes (
          tenant_id uuid NOT NULL,
          id uuid NOT NULL,
          knowledge_base_id uuid NOT NULL,
          number integer NOT NULL,
          fingerprint text NOT NULL,
          dimensions integer NOT NULL CHECK (dimensions BETWEEN 1 AND 4000),
          state text NOT NULL DEFAULT 'building' CHECK (state IN ('building', 'active', 'retired')),
          storage text NOT NULL CHECK (storage IN ('common', 'own', 'pinecone')),
          pinecone_host text CHECK (length(pinecone_host) BETWEEN 1 AND 1024),
          languages text[] NOT NULL DEFAULT '{}',
          embedding jsonb,
          chunks bigint NOT NULL DEFAULT 0,
          counted_at timestamptz,
          created_at timestamptz NOT NULL DEFAULT now(),
          activated_at timestamptz,
          retired_at timestamptz,
          doomed_at timestamptz,
          moved_at timestamptz,
          PRIMARY KEY (tenant_id, id),
          UNIQUE (tenant_id, knowledge_base_id, number),
          CHECK ((storage = 'pinecone') = (pinecone_host IS NOT NULL)),
          FOREIGN KEY (tenant_id, knowledge_base_id) REFERENCES syntera.knowledge_bases (tenant_id, id)
        )
    """)
    op.execute(
        "COMMENT ON TABLE syntera.knowledge_indexes IS 'Ways to cut and embed a knowledge base, one of them active'"
    )
    for column, comment in {
        "fingerprint": "Hash of everything that it depends on",
        "storage": "Where its vectors are: in knowledge_vectors, in a table of their own, in Pinecone",
        "pinecone_host": "Where in Pinecone its vectors are, with the scheme; its namespace follows from ids and number",
        "languages": "Of its documents when its words were counted; empty text: unknown",
        "embedding": "What made its vectors: a model, by the name of its endpoint. Where that is, the configuration alone says",
        "chunks": "When its words were counted",
        "counted_at": "When its words were counted last; NULL: never",
        "doomed_at": "Since when it is to be dropped; nobody takes it up again",
        "moved_at": "When its vectors got a table of their own, as long as copies are left in knowledge_vectors",
    }.items():
        op.execute(f"COMMENT ON COLUMN syntera.knowledge_indexes.{column} IS '{comment}'")
    op.execute("""
        CREATE UNIQUE INDEX knowledge_indexes_active ON syntera.knowledge_indexes (tenant_id, knowledge_base_id)
        WHERE state = 'active'
    """)
    identity = ["tenant_id", "id", "knowledge_base_id", "number"]
    # The operator alone says that vectors have moved: it makes the tables, and drops them by what it reads here.
    isolate("knowledge_indexes", update=["state", "embedding", "activated_at", "retired_at", "doomed_at"])
    grant_columns(
        "knowledge_indexes",
        insert=[*identity, "fingerprint", "dimensions", "storage", "pinecone_host", "embedding"],
    )
    let_own_functions_reach("knowledge_indexes")


def _create_documents() -> None:
    # A path may be longer than an index takes, so its hash tells documents apart.
    op.execute("""
        CREATE TABLE syntera.knowledge_documents (
          tenant_id uuid NOT NULL,
          id uuid NOT NULL,
          knowledge_base_id uuid NOT NULL,
          source text NOT NULL,
          path text NOT NULL,
          path_hash bytea NOT NULL CHECK (octet_length(path_hash) = 32),
          title text NOT NULL,
          url text,
          media_type text NOT NULL,
          language text,
          audience text[] NOT NULL,
          keeps_audience boolean NOT NULL DEFAULT false,
          tags text[] NOT NULL DEFAULT '{}',
          modified_at timestamptz,
          bytes bigint NOT NULL DEFAULT 0,
          state text NOT NULL CHECK (state IN ('pending', 'indexed', 'failed', 'excluded')),
          failure_reason text,
          failure_message text,
          content_hash bytea CHECK (octet_length(content_hash) = 32),
          validators jsonb NOT NULL DEFAULT '{}',
          links text,
          characters integer NOT NULL DEFAULT 0,
          file_id uuid,
          reader text NOT NULL DEFAULT '',
          created_at timestamptz NOT NULL DEFAULT now(),
          updated_at timestamptz NOT NULL DEFAULT now(),
          checked_at timestamptz,
          PRIMARY KEY (tenant_id, id),
          UNIQUE (tenant_id, knowledge_base_id, source, path_hash),
          FOREIGN KEY (tenant_id, knowledge_base_id) REFERENCES syntera.knowledge_bases (tenant_id, id)
        )
    """)
    op.execute("COMMENT ON TABLE syntera.knowledge_documents IS 'What sources hold, and what became of it'")
    for column, comment in {
        "path_hash": "SHA-256 of the path",
        "audience": "Who may be answered from it; a search compares it with who asks",
        "keeps_audience": "Its upload said for whom it is, so syncs leave that alone",
        "content_hash": "SHA-256 of the bytes that were fetched last",
        "validators": "What makes the next request for it a conditional one",
        "links": "Where its page leads, a URL each line, for syncs that do not read it again; NULL: unknown",
        "file_id": "Of an uploaded one: the file that it is",
        "reader": "Version of what extracted its text",
    }.items():
        op.execute(f"COMMENT ON COLUMN syntera.knowledge_documents.{column} IS '{comment}'")
    op.execute(
        "CREATE INDEX knowledge_documents_list ON syntera.knowledge_documents (tenant_id, knowledge_base_id, id)"
    )
    op.execute("""
        CREATE INDEX knowledge_documents_uploads ON syntera.knowledge_documents (tenant_id, knowledge_base_id, content_hash)
        WHERE file_id IS NOT NULL
    """)
    facts = ["title", "url", "media_type", "language", "audience", "keeps_audience", "tags", "modified_at", "bytes"]
    progress = [
        "state",
        "failure_reason",
        "failure_message",
        "content_hash",
        "validators",
        "links",
        "characters",
        "file_id",
    ]
    isolate(
        "knowledge_documents",
        insert=True,
        update=[*facts, *progress, "reader", "updated_at", "checked_at"],
    )
    let_own_functions_reach("knowledge_documents")
    op.execute("""
        CREATE TABLE syntera.knowledge_texts (
          tenant_id uuid NOT NULL,
          document_id uuid NOT NULL,
          text text NOT NULL,
          facts jsonb NOT NULL DEFAULT '{}',
          PRIMARY KEY (tenant_id, document_id),
          FOREIGN KEY (tenant_id, document_id) REFERENCES syntera.knowledge_documents (tenant_id, id)
        )
    """)
    op.execute("COMMENT ON TABLE syntera.knowledge_texts IS 'Texts as they were extracted, to be cut anew'")
    op.execute(
        "COMMENT ON COLUMN syntera.knowledge_texts.facts IS"
        " 'What the content itself says: where headings and pages begin, title, language, time, tags'"
    )
    isolate("knowledge_texts", insert=True, update=["text", "facts"])
    let_own_functions_reach("knowledge_texts")


def _create_chunks() -> None:
    op.execute("""
        CREATE TABLE syntera.knowledge_index_documents (
          tenant_id uuid NOT NULL,
          index_id uuid NOT NULL,
          document_id uuid NOT NULL,
          content_hash bytea NOT NULL CHECK (octet_length(content_hash) = 32),
          reader text NOT NULL,
          chunks integer NOT NULL,
          written_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (tenant_id, index_id, document_id),
          FOREIGN KEY (tenant_id, index_id) REFERENCES syntera.knowledge_indexes (tenant_id, id),
          FOREIGN KEY (tenant_id, document_id) REFERENCES syntera.knowledge_documents (tenant_id, id)
        )
    """)
    op.execute(
        "COMMENT ON TABLE syntera.knowledge_index_documents IS 'Which documents an index holds, and as of which content'"
    )
    op.execute(
        "CREATE INDEX knowledge_index_documents_document ON syntera.knowledge_index_documents (tenant_id, document_id)"
    )
    isolate("knowledge_index_documents", insert=True)
    let_own_functions_reach("knowledge_index_documents")
    _create_terms()
    # No foreign keys: chunks are written and deleted with the row above, under a lock on their document.
    op.execute("""
        CREATE TABLE syntera.knowledge_chunks (
          tenant_id uuid NOT NULL,
          index_id uuid NOT NULL,
          document_id uuid NOT NULL,
          position integer NOT NULL,
          id uuid NOT NULL,
          hash bytea NOT NULL CHECK (octet_length(hash) = 16),
          starts integer NOT NULL,
          ends integer NOT NULL,
          overlap integer NOT NULL,
          tokens integer NOT NULL,
          page integer,
          last_page integer,
          language text NOT NULL,
          headings text[] NOT NULL,
          content text NOT NULL,
          terms tsvector NOT NULL
            GENERATED ALWAYS AS (syntera.knowledge_terms(tenant_id, index_id, language, headings, content)) STORED,
          PRIMARY KEY (tenant_id, index_id, document_id, position),
          UNIQUE (tenant_id, id)
        )
    """)
    op.execute("COMMENT ON TABLE syntera.knowledge_chunks IS 'Pieces of documents, as each index has cut them'")
    op.execute("COMMENT ON COLUMN syntera.knowledge_chunks.hash IS 'Of the text that was embedded: finds its vector'")
    op.execute(
        "COMMENT ON COLUMN syntera.knowledge_chunks.terms IS 'Its words, and a term that says which index it is in'"
    )
    # A rank reads the words of hundreds of chunks: out of line each would cost a look-up and decompression.
    op.execute("ALTER TABLE syntera.knowledge_chunks SET (toast_tuple_target = 8160)")
    op.execute("ALTER TABLE syntera.knowledge_chunks ALTER COLUMN terms SET STORAGE MAIN")
    # Statistics of words are of all tenants' words, and any tenant's EXPLAIN would show them; nobody compares the texts.
    for column in ("terms", "content", "headings"):
        op.execute(f"ALTER TABLE syntera.knowledge_chunks ALTER COLUMN {column} SET STATISTICS 0")
    op.execute("""
        CREATE INDEX knowledge_chunks_hash ON syntera.knowledge_chunks (tenant_id, index_id, hash)
        INCLUDE (document_id, position, id)
    """)
    # What is pending would be read from end to end by every search.
    op.execute(
        "CREATE INDEX knowledge_chunks_terms ON syntera.knowledge_chunks USING gin (terms) WITH (fastupdate = off)"
    )
    isolate("knowledge_chunks")
    columns = ["tenant_id", "index_id", "document_id", "position", "id", "hash", "starts", "ends", "overlap", "tokens"]
    grant_columns("knowledge_chunks", insert=[*columns, "page", "last_page", "language", "headings", "content"])
    let_own_functions_reach("knowledge_chunks")
    let_own_functions_search("knowledge_chunks")
    # An index, like a knowledge base, is one tenant's: the planner would take both conditions for independent, and thousands of rows
    # for one.
    for table, column in (("chunks", "index_id"), ("documents", "knowledge_base_id")):
        op.execute(
            f"CREATE STATISTICS syntera.knowledge_{table}_owner (dependencies) ON tenant_id, {column}"
            f" FROM syntera.knowledge_{table}"
        )


def _create_terms() -> None:
    cases = "\n".join(f"WHEN '{code}' THEN 'pg_catalog.{name}'" for code, name in _LANGUAGES.items())
    op.execute(f"""
        CREATE FUNCTION syntera.text_configuration(language text) RETURNS regconfig
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp
        RETURN (CASE language {cases} ELSE 'pg_catalog.simple' END)::regconfig
    """)
    offer_function("text_configuration(text)", "How words of a language, ISO 639-1, are told apart")
    op.execute("""
        CREATE FUNCTION syntera.knowledge_term(tenant uuid, index uuid) RETURNS text
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp
        RETURN 'index ' || tenant || ' ' || index
    """)
    offer_function("knowledge_term(uuid, uuid)", "The term that says which index a chunk is in; no word holds a space")
    # A generated column: nobody can write a term of another's.
    op.execute("""
        CREATE FUNCTION syntera.knowledge_terms(tenant uuid, index uuid, language text, headings text[], content text)
        RETURNS tsvector
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp
        SET client_min_messages = error
        RETURN array_to_tsvector(ARRAY[syntera.knowledge_term(tenant, index)]) || to_tsvector(
          syntera.text_configuration(language),
          left(array_to_string(headings, ' '), 2000) || ' ' || left(content, 50000)
        )
    """)
    offer_function("knowledge_terms(uuid, uuid, text, text[], text)", "What words find a chunk by")


def _create_vectors() -> None:
    op.execute("""
        CREATE TABLE syntera.knowledge_vectors (
          tenant_id uuid NOT NULL,
          index_id uuid NOT NULL,
          hash bytea NOT NULL CHECK (octet_length(hash) = 16),
          vector extensions.halfvec NOT NULL,
          PRIMARY KEY (tenant_id, index_id, hash)
        )
    """)
    op.execute("COMMENT ON TABLE syntera.knowledge_vectors IS 'Vectors of small indexes, searched from end to end'")
    # In the row: a search reads every vector of an index.
    op.execute("ALTER TABLE syntera.knowledge_vectors ALTER COLUMN vector SET STORAGE PLAIN")
    op.execute("ALTER TABLE syntera.knowledge_vectors ALTER COLUMN vector SET STATISTICS 0")
    isolate("knowledge_vectors", insert=True, update=["vector"])
    let_own_functions_reach("knowledge_vectors")


def _create_words() -> None:
    op.execute("""
        CREATE TABLE syntera.knowledge_words (
          tenant_id uuid NOT NULL,
          index_id uuid NOT NULL,
          lexeme text NOT NULL,
          chunks integer NOT NULL,
          PRIMARY KEY (tenant_id, index_id, lexeme)
        )
    """)
    op.execute(
        "COMMENT ON TABLE syntera.knowledge_words IS 'How many chunks of an index hold a word, where more than one does'"
    )
    op.execute("ALTER TABLE syntera.knowledge_words ALTER COLUMN lexeme SET STATISTICS 0")
    isolate("knowledge_words")
    let_own_functions_reach("knowledge_words")


def _create_syncs() -> None:
    op.execute("""
        CREATE TABLE syntera.knowledge_syncs (
          tenant_id uuid NOT NULL,
          id uuid NOT NULL,
          knowledge_base_id uuid NOT NULL,
          state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'complete', 'failed')),
          trigger text NOT NULL,
          revision integer NOT NULL,
          index_number integer,
          estimated_tokens bigint,
          counts jsonb NOT NULL DEFAULT '{}',
          failures jsonb NOT NULL DEFAULT '[]',
          failure text,
          message text,
          started_at timestamptz NOT NULL DEFAULT now(),
          ended_at timestamptz,
          PRIMARY KEY (tenant_id, id),
          FOREIGN KEY (tenant_id, knowledge_base_id) REFERENCES syntera.knowledge_bases (tenant_id, id)
        )
    """)
    op.execute(
        "COMMENT ON TABLE syntera.knowledge_syncs IS 'Runs that bring a knowledge base in step with its sources'"
    )
    op.execute("COMMENT ON COLUMN syntera.knowledge_syncs.revision IS 'Of the configuration that it works by'")
    op.execute("COMMENT ON COLUMN syntera.knowledge_syncs.failures IS 'The first documents and sources that failed'")
    op.execute("CREATE INDEX knowledge_syncs_list ON syntera.knowledge_syncs (tenant_id, knowledge_base_id, id)")
    isolate(
        "knowledge_syncs",
        insert=True,
        update=["state", "ended_at", "index_number", "estimated_tokens", "counts", "failures", "failure", "message"],
    )
    let_own_functions_reach("knowledge_syncs")


def _widen_files() -> None:
    op.execute("ALTER TABLE syntera.files ADD COLUMN IF NOT EXISTS knowledge_base_id uuid")
    op.execute(
        "COMMENT ON COLUMN syntera.files.knowledge_base_id IS"
        " 'The knowledge base that has a document of it; NULL: none, and it goes if no message gets it'"
    )
    grant_columns("files", update=["knowledge_base_id"])
    op.execute("ALTER TABLE syntera.files ADD COLUMN IF NOT EXISTS request_hash bytea")
    op.execute(
        "COMMENT ON COLUMN syntera.files.request_hash IS"
        " 'SHA-256 of what the request says beside name and bytes: another one with its key is refused; NULL: nothing'"
    )
    # Runtimes of the release before know no documents: they would doom what no message has.
    op.execute("""
        CREATE OR REPLACE FUNCTION syntera.keep_files_of_documents() RETURNS trigger
        LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp
        AS $body$ BEGIN RETURN NULL; END $body$
    """)
    op.execute("COMMENT ON FUNCTION syntera.keep_files_of_documents IS 'Leaves a row as it is'")
    op.execute("REVOKE EXECUTE ON FUNCTION syntera.keep_files_of_documents FROM PUBLIC")
    op.execute("""
        CREATE OR REPLACE TRIGGER keep_of_documents BEFORE UPDATE OF state ON syntera.files FOR EACH ROW
        WHEN (NEW.state = 'doomed' AND NEW.knowledge_base_id IS NOT NULL)
        EXECUTE FUNCTION syntera.keep_files_of_documents()
    """)
