"""What tenants' sessions ask of knowledge by functions with the owner's rights: locks, deletions, counts of words, searches."""

from alembic import op

from syntera_operator.stores.migrations.walls import offer_function

revision = "0011"
down_revision = "0010"

_MOST_KNOWLEDGE_BASES = 250
"""Of one tenant: each is a lock that it may hold, and the server's table of locks is everybody's."""

_FEW_CHUNKS = 200
"""So many may be read from end to end."""

_PASSES = """
  SELECT FROM syntera.knowledge_documents AS d
  WHERE d.tenant_id = tenant AND d.id = c.document_id
    AND d.audience && search_knowledge.audience
    AND (sources IS NULL OR d.source = ANY (sources))
    AND (path_prefix IS NULL OR starts_with(d.path, path_prefix))
    AND (search_knowledge.tags IS NULL OR d.tags @> search_knowledge.tags)
    AND (modified_from IS NULL OR d.modified_at >= modified_from)
    AND (modified_before IS NULL OR d.modified_at < modified_before)
  OFFSET 0
"""
"""Whether a chunk `c` may be found; looked up chunk by chunk."""
_SCALE = 30
"""Makes scores of what `ts_rank` gives for single words: at most 0.1, divided by the logarithm of how many different words the chunk
has, to base 2, which is some 7. So 1 is hardly ever passed."""
_RANK = (
    "(SELECT sum(w.weight * ts_rank(c.terms, w.query, 16)) FROM unnest(queries, weights) AS w (query, weight))"  # noqa: S608  # constants
    f" * {_SCALE} / total"
)
"""How well a chunk `c` fits; long ones do not win by their length."""

_MOST_CHARACTERS = 4000
"""Of a question."""
_MOST_SAID = 600
"""Words of a question that are read at all, the first ones."""
_MOST_WORDS = 24
"""Of a question that count, the rarest ones; so many more of those that at most one chunk holds."""
_CANDIDATES = 500
"""Chunks that hold one of the rarest words, as far as is known from the last count."""
_MOST_CANDIDATES = 250
"""That are ranked, however common the question's words are."""
_MOST_HITS = 1000


def upgrade() -> None:
    """All in one transaction: nobody calls them before."""
    _create_making()
    _create_lock()
    _create_deletions()
    _create_erasure()
    _create_statistics()
    _create_search()


def _create_making() -> None:
    op.execute(f"""
        CREATE FUNCTION syntera.ensure_knowledge_base(new_id uuid, wanted text) RETURNS uuid
        LANGUAGE plpgsql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        AS $body$ DECLARE
          tenant uuid := syntera.current_tenant();
          found uuid;
        BEGIN
          SELECT b.id INTO found FROM syntera.knowledge_bases AS b WHERE b.tenant_id = tenant AND b.name = wanted;
          IF found IS NOT NULL THEN
            RETURN found;
          END IF;
          IF (SELECT count(*) FROM syntera.knowledge_bases AS b WHERE b.tenant_id = tenant) >= {_MOST_KNOWLEDGE_BASES} THEN
            RAISE program_limit_exceeded USING MESSAGE = 'there are {_MOST_KNOWLEDGE_BASES} knowledge bases, which is the most';
          END IF;
          INSERT INTO syntera.knowledge_bases (tenant_id, id, name) VALUES (tenant, new_id, wanted)
          ON CONFLICT (tenant_id, name) DO NOTHING;
          SELECT b.id INTO found FROM syntera.knowledge_bases AS b WHERE b.tenant_id = tenant AND b.name = wanted;
          RETURN found;
        END $body$
    """)  # noqa: S608  # constants
    offer_function(
        "ensure_knowledge_base(uuid, text)",
        "The caller''s knowledge base of that name, made if there is none",
    )


def _create_lock() -> None:
    # Advisory locks are shared by the whole database, so tenants may take none but through this function.
    op.execute("""
        CREATE FUNCTION syntera.knowledge_lock_key(tenant uuid, base uuid) RETURNS bigint
        LANGUAGE sql IMMUTABLE PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp
        RETURN hashtextextended('knowledge base ' || tenant || ' ' || base, 0)
    """)
    op.execute("COMMENT ON FUNCTION syntera.knowledge_lock_key IS 'Number of the advisory lock of a knowledge base'")
    op.execute("REVOKE EXECUTE ON FUNCTION syntera.knowledge_lock_key FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION syntera.knowledge_lock_key TO syntera_maintenance, syntera_operator")
    op.execute("""
        CREATE FUNCTION syntera.lock_knowledge_base(base uuid) RETURNS boolean
        LANGUAGE sql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        BEGIN ATOMIC
          SELECT CASE WHEN EXISTS (
            SELECT FROM syntera.knowledge_bases AS b WHERE b.tenant_id = syntera.current_tenant() AND b.id = base
          ) THEN pg_try_advisory_lock(syntera.knowledge_lock_key(syntera.current_tenant(), base)) ELSE false END;
        END
    """)
    offer_function(
        "lock_knowledge_base(uuid)",
        "Takes the lock of a knowledge base of the caller''s for this session. False: there is none, or somebody has it",
    )
    op.execute("""
        CREATE FUNCTION syntera.unlock_knowledge_base(base uuid) RETURNS boolean
        LANGUAGE sql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        BEGIN ATOMIC
          SELECT pg_advisory_unlock(syntera.knowledge_lock_key(syntera.current_tenant(), base));
        END
    """)
    offer_function("unlock_knowledge_base(uuid)", "Gives the lock back that this session holds")


def _create_deletions() -> None:
    op.execute("""
        CREATE FUNCTION syntera.own_vectors_table(index uuid) RETURNS text
        LANGUAGE sql STABLE
        SET search_path = pg_catalog, pg_temp
        RETURN 'knowledge_vectors_' || left(
          encode(sha256(convert_to(syntera.current_tenant() || '/' || index, 'UTF8')), 'hex'), 32
        )
    """)
    offer_function(
        "own_vectors_table(uuid)",
        "What the table of an index of the caller''s is called, if it has one of its own",
    )
    # Tenants have no DELETE; policies hold these functions to the rows of the tenant in whose session they run.
    op.execute("""
        CREATE FUNCTION syntera.take_out_documents(documents uuid[], index uuid) RETURNS void
        LANGUAGE plpgsql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        AS $body$ DECLARE
          tenant uuid := syntera.current_tenant();
          held record;
        BEGIN
          FOR held IN
            DELETE FROM syntera.knowledge_index_documents AS h
            WHERE h.tenant_id = tenant AND h.document_id = ANY (documents) AND (index IS NULL OR h.index_id = index)
            RETURNING h.index_id, h.document_id
          LOOP
            DELETE FROM syntera.knowledge_chunks AS c
            WHERE c.tenant_id = tenant AND c.index_id = held.index_id AND c.document_id = held.document_id;
          END LOOP;
        END $body$
    """)
    offer_function(
        "take_out_documents(uuid[], uuid)",
        "Takes documents of the caller''s out of an index; NULL: out of all",
    )
    op.execute("""
        CREATE FUNCTION syntera.delete_texts(documents uuid[]) RETURNS void
        LANGUAGE sql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        BEGIN ATOMIC
          DELETE FROM syntera.knowledge_texts
          WHERE tenant_id = syntera.current_tenant() AND document_id = ANY (documents);
        END
    """)
    offer_function("delete_texts(uuid[])", "Deletes the texts of documents of the caller''s")
    op.execute("""
        CREATE FUNCTION syntera.delete_documents(documents uuid[]) RETURNS void
        LANGUAGE plpgsql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        AS $body$ DECLARE
          tenant uuid := syntera.current_tenant();
        BEGIN
          -- In one order: who writes a document holds it as well.
          PERFORM FROM syntera.knowledge_documents AS d WHERE d.tenant_id = tenant AND d.id = ANY (documents)
          ORDER BY d.id FOR UPDATE;
          PERFORM syntera.take_out_documents(documents, NULL);
          DELETE FROM syntera.knowledge_texts AS t WHERE t.tenant_id = tenant AND t.document_id = ANY (documents);
          UPDATE syntera.files AS f SET state = 'doomed', knowledge_base_id = NULL FROM syntera.knowledge_documents AS d
          WHERE d.tenant_id = tenant AND d.id = ANY (documents) AND f.tenant_id = tenant AND f.id = d.file_id
            AND f.knowledge_base_id = d.knowledge_base_id;
          DELETE FROM syntera.knowledge_documents AS d WHERE d.tenant_id = tenant AND d.id = ANY (documents);
        END $body$
    """)
    offer_function(
        "delete_documents(uuid[])", "Deletes documents of the caller''s with all that hangs on them; files are doomed"
    )
    # Of one that was moved a moment ago there are copies in the common table, which nobody finds without its row.
    op.execute("""
        CREATE FUNCTION syntera.delete_vectors(index uuid, hashes bytea[], most integer) RETURNS bigint
        LANGUAGE plpgsql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        AS $body$ DECLARE
          tenant uuid := syntera.current_tenant();
          places text[] := ARRAY['knowledge_vectors'];
          place text;
          number bigint;
          deleted bigint := 0;
        BEGIN
          IF to_regclass('syntera.' || syntera.own_vectors_table(index)) IS NOT NULL AND EXISTS (
            SELECT FROM syntera.knowledge_indexes AS i WHERE i.tenant_id = tenant AND i.id = index AND i.storage = 'own'
          ) THEN
            places := syntera.own_vectors_table(index) || places;
          END IF;
          FOREACH place IN ARRAY places LOOP
            EXECUTE format(
              'DELETE FROM syntera.%1$I WHERE tenant_id = $1 AND ctid = ANY (ARRAY('
              'SELECT ctid FROM syntera.%1$I WHERE tenant_id = $1 AND index_id = $2 AND ($3 IS NULL OR hash = ANY ($3)) LIMIT $4))',
              place
            ) USING tenant, index, hashes, most - deleted;
            GET DIAGNOSTICS number = ROW_COUNT;
            deleted := deleted + number;
          END LOOP;
          RETURN deleted;
        END $body$
    """)
    offer_function(
        "delete_vectors(uuid, bytea[], integer)",
        "Deletes so many vectors of an index of the caller''s: those with the hashes, NULL: any",
    )
    op.execute("""
        CREATE FUNCTION syntera.prune_syncs(base uuid, kept integer) RETURNS void
        LANGUAGE sql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        BEGIN ATOMIC
          DELETE FROM syntera.knowledge_syncs AS s
          WHERE s.tenant_id = syntera.current_tenant() AND s.knowledge_base_id = base AND s.id IN (
            SELECT o.id FROM syntera.knowledge_syncs AS o
            WHERE o.tenant_id = syntera.current_tenant() AND o.knowledge_base_id = base
            ORDER BY o.id DESC OFFSET kept
          );
        END
    """)
    offer_function(
        "prune_syncs(uuid, integer)", "Deletes all but the newest syncs of a knowledge base of the caller''s"
    )


def _create_erasure() -> None:
    op.execute("""
        CREATE FUNCTION syntera.erase_index(index uuid, most integer) RETURNS boolean
        LANGUAGE plpgsql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        AS $body$ DECLARE
          tenant uuid := syntera.current_tenant();
          documents uuid[];
        BEGIN
          documents := ARRAY(
            SELECT h.document_id FROM syntera.knowledge_index_documents AS h
            WHERE h.tenant_id = tenant AND h.index_id = index LIMIT most
          );
          PERFORM syntera.take_out_documents(documents, index);
          IF cardinality(documents) = most OR syntera.delete_vectors(index, NULL, most * 20) = most * 20 THEN
            RETURN true;
          END IF;
          DELETE FROM syntera.knowledge_words AS w WHERE w.tenant_id = tenant AND w.index_id = index;
          DELETE FROM syntera.knowledge_indexes AS i WHERE i.tenant_id = tenant AND i.id = index;
          RETURN false;
        END $body$
    """)
    offer_function(
        "erase_index(uuid, integer)", "Deletes a step''s worth of an index of the caller''s. True: there is more"
    )
    op.execute("""
        CREATE FUNCTION syntera.erase_knowledge_base(base uuid, most integer) RETURNS boolean
        LANGUAGE plpgsql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        AS $body$ DECLARE
          tenant uuid := syntera.current_tenant();
          found uuid;
          documents uuid[];
        BEGIN
          SELECT i.id INTO found FROM syntera.knowledge_indexes AS i
          WHERE i.tenant_id = tenant AND i.knowledge_base_id = base LIMIT 1;
          IF found IS NOT NULL THEN
            PERFORM syntera.erase_index(found, most);
            RETURN true;
          END IF;
          documents := ARRAY(
            SELECT d.id FROM syntera.knowledge_documents AS d
            WHERE d.tenant_id = tenant AND d.knowledge_base_id = base LIMIT most
          );
          IF cardinality(documents) > 0 THEN
            PERFORM syntera.delete_documents(documents);
            RETURN true;
          END IF;
          DELETE FROM syntera.knowledge_syncs AS s WHERE s.tenant_id = tenant AND s.knowledge_base_id = base;
          DELETE FROM syntera.knowledge_bases AS b WHERE b.tenant_id = tenant AND b.id = base;
          RETURN false;
        END $body$
    """)
    offer_function(
        "erase_knowledge_base(uuid, integer)",
        "Deletes a step''s worth of a knowledge base of the caller''s; files are doomed. True: there is more",
    )


def _create_statistics() -> None:
    # An index that statistics do not know is one row to the planner, which then reads all of it where a key would do; and autovacuum
    # never comes for a few thousand rows in a table of millions.
    op.execute(f"""
        CREATE FUNCTION syntera.analyze_knowledge(index uuid) RETURNS void
        LANGUAGE plpgsql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        SET client_min_messages = error
        AS $body$ DECLARE
          tenant uuid := syntera.current_tenant();
        BEGIN
          IF (
            SELECT sum(h.chunks) FROM syntera.knowledge_index_documents AS h WHERE h.tenant_id = tenant AND h.index_id = index
          ) > (
            SELECT greatest({_FEW_CHUNKS}, 2 * i.chunks) FROM syntera.knowledge_indexes AS i WHERE i.tenant_id = tenant AND i.id = index
          ) THEN
            ANALYZE (SKIP_LOCKED) syntera.knowledge_documents, syntera.knowledge_index_documents, syntera.knowledge_chunks,
              syntera.knowledge_vectors, syntera.knowledge_words;
          END IF;
        END $body$
    """)  # noqa: S608  # a constant
    offer_function(
        "analyze_knowledge(uuid)",
        "Has statistics made anew once an index of the caller''s has doubled since its words were counted",
    )
    # ts_stat runs the text of a query; it holds two ids and nothing that anybody wrote.
    op.execute("""
        CREATE FUNCTION syntera.count_words(index uuid) RETURNS void
        LANGUAGE plpgsql VOLATILE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        SET enable_seqscan = off
        AS $body$ DECLARE
          tenant uuid := syntera.current_tenant();
          known syntera.knowledge_indexes;
          held bigint;
          spoken text[];
          written bigint;
        BEGIN
          SELECT i.* INTO known FROM syntera.knowledge_indexes AS i WHERE i.tenant_id = tenant AND i.id = index FOR NO KEY UPDATE;
          IF known.id IS NULL THEN
            RETURN;
          END IF;
          SELECT coalesce(sum(h.chunks), 0), coalesce(array_agg(DISTINCT coalesce(d.language, '')), '{}'),
            coalesce(sum(h.chunks) FILTER (WHERE h.written_at > known.counted_at), 0)
          INTO held, spoken, written
          FROM syntera.knowledge_index_documents AS h
          JOIN syntera.knowledge_documents AS d ON d.tenant_id = tenant AND d.id = h.document_id
          WHERE h.tenant_id = tenant AND h.index_id = index;
          -- How rare words are hardly changes by a hundredth of the chunks, and counting reads them all.
          IF known.counted_at IS NOT NULL AND greatest(written, abs(held - known.chunks)) * 100 < known.chunks THEN
            UPDATE syntera.knowledge_indexes AS i SET languages = spoken
            WHERE i.tenant_id = tenant AND i.id = index AND i.languages <> spoken;
            RETURN;
          END IF;
          WITH counted AS MATERIALIZED (
            SELECT s.word, s.ndoc FROM ts_stat(format(
              'SELECT c.terms FROM syntera.knowledge_chunks AS c WHERE c.tenant_id = %L AND c.index_id = %L', tenant, index
            )) AS s
            WHERE s.ndoc > 1 AND s.word <> syntera.knowledge_term(tenant, index)
          ), gone AS (
            DELETE FROM syntera.knowledge_words AS w
            WHERE w.tenant_id = tenant AND w.index_id = index
              AND NOT EXISTS (SELECT FROM counted WHERE counted.word = w.lexeme)
          )
          INSERT INTO syntera.knowledge_words AS w (tenant_id, index_id, lexeme, chunks)
          SELECT tenant, index, counted.word, counted.ndoc FROM counted
          ON CONFLICT (tenant_id, index_id, lexeme) DO UPDATE SET chunks = excluded.chunks
          WHERE w.chunks <> excluded.chunks;
          UPDATE syntera.knowledge_indexes AS i SET languages = spoken, chunks = held, counted_at = now()
          WHERE i.tenant_id = tenant AND i.id = index;
        END $body$
    """)
    offer_function(
        "count_words(uuid)",
        "Counts how many chunks of an index of the caller''s hold each word, and notes its languages",
    )


def _create_search() -> None:
    # Under row-level security the planner uses no index for @@, which is not leakproof. Inside this function the owner's
    # policy lets every row pass, the index finds the chunks by the term of their own, and tenant_id is compared besides.
    # The planner knows nothing of words (they have no statistics), so the settings leave it one way: the index, then a look
    # at each document; planned once in a session, as knowing a question's words would change nothing. A tenant hears no notice: one of a text of others would be among them.
    op.execute(f"""
        CREATE FUNCTION syntera.search_knowledge(
          index uuid, words text, audience text[], sources text[], path_prefix text, tags text[],
          modified_from timestamptz, modified_before timestamptz, most integer
        ) RETURNS TABLE (id uuid, document_id uuid, "position" integer, hash bytea, score double precision)
        LANGUAGE plpgsql STABLE SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        SET client_min_messages = error
        SET enable_seqscan = off
        SET enable_hashjoin = off
        SET enable_mergejoin = off
        SET jit = off
        SET plan_cache_mode = force_generic_plan
        AS $body$ DECLARE
          tenant uuid := syntera.current_tenant();
          found syntera.knowledge_indexes;
          queries tsquery[];
          weights float8[];
          total float8;
          own tsquery;
          rare tsquery;
          common tsquery;
          others tsquery;
          paired tsquery;
          wanted tsquery;
          number bigint;
          returned bigint := 0;
        BEGIN
          most := least(most, {_MOST_HITS});
          SELECT i.* INTO found FROM syntera.knowledge_indexes AS i WHERE i.tenant_id = tenant AND i.id = index;
          IF found.id IS NULL THEN
            RETURN;
          END IF;
          -- Candidates are found by the rarest words, of which so many chunks together hold one; all words rank them.
          -- A word that any of the languages passes over as too common is one, whatever it means in the others: "the" is rare
          -- among the words of a German text and says as little there. If nothing else is asked, all of it counts.
          WITH spoken AS (
            SELECT DISTINCT syntera.text_configuration(s.language) AS configuration
            FROM unnest(CASE WHEN found.languages = '{{}}' THEN ARRAY[''] ELSE found.languages END) AS s (language)
          ), said AS (
            SELECT DISTINCT t.word FROM (
              SELECT s.word FROM regexp_split_to_table(left(words, {_MOST_CHARACTERS}), '[[:space:]]+')
                WITH ORDINALITY AS s (word, place)
              ORDER BY s.place LIMIT {_MOST_SAID}
            ) AS t
          ), read AS (
            SELECT to_tsvector(spoken.configuration, said.word) AS terms,
              bool_or(to_tsvector(spoken.configuration, said.word) = '') OVER (PARTITION BY said.word) AS is_common
            FROM said, spoken
          ), asked AS (
            SELECT DISTINCT u.lexeme FROM read AS r, unnest(r.terms) AS u
            WHERE NOT r.is_common OR NOT EXISTS (SELECT FROM read AS other WHERE NOT other.is_common)
            LIMIT 1000
          ), known AS (
            SELECT a.lexeme, w.chunks AS chunks,
              '''' || replace(replace(a.lexeme, '\\', '\\\\'), '''', '''''') || '''' AS quoted,
              row_number() OVER (PARTITION BY w.chunks IS NULL ORDER BY w.chunks, a.lexeme) AS number
            FROM asked AS a
            LEFT JOIN syntera.knowledge_words AS w ON w.tenant_id = tenant AND w.index_id = index AND w.lexeme = a.lexeme
          ), weighed AS (
            SELECT k.quoted, coalesce(k.chunks, 1) AS chunks, CASE WHEN k.chunks IS NOT NULL THEN k.number END AS known_number,
              sum(coalesce(k.chunks, 1)) OVER (ORDER BY coalesce(k.chunks, 1), k.lexeme) <= {_CANDIDATES} AS is_rare
            FROM known AS k WHERE k.number <= {_MOST_WORDS}
          ), valued AS (
            SELECT x.*, ln(1 + greatest(found.chunks, x.chunks)::float8 / x.chunks) AS weight
            FROM weighed AS x
          )
          SELECT array_agg(x.quoted::tsquery), array_agg(x.weight), sum(x.weight),
            string_agg(x.quoted, ' | ') FILTER (WHERE x.is_rare)::tsquery,
            min(x.quoted) FILTER (WHERE x.known_number = 1 AND NOT x.is_rare)::tsquery,
            string_agg(x.quoted, ' | ') FILTER (
              WHERE x.known_number BETWEEN 2 AND 4 AND x.chunks * 4 < found.chunks
            )::tsquery
          INTO queries, weights, total, rare, common, others
          FROM valued AS x;
          IF queries IS NULL THEN
            RETURN;
          END IF;
          own := quote_literal(syntera.knowledge_term(tenant, index))::tsquery;
          -- Chunks with a rare word are ranked first; only where too few of these pass, those with the least common of the other
          -- words, and of these the ones that hold a second such word before the rest: all would be too many.
          common := CASE WHEN rare IS NULL THEN common ELSE common && !!rare END;
          paired := own && common && others;
          common := own && CASE WHEN others IS NULL THEN common ELSE common && !!others END;
          rare := own && rare;
          -- Few enough to rank them all, and to look the best ones up until enough pass.
          RETURN QUERY
          SELECT c.id, c.document_id, c.position, c.hash, c.score FROM (
            SELECT c.id, c.document_id, c.position, c.hash, {_RANK} AS score
            FROM (SELECT k.* FROM syntera.knowledge_chunks AS k WHERE k.terms @@ rare OFFSET 0) AS c
            WHERE c.tenant_id = tenant AND c.index_id = index
            ORDER BY 5 DESC, 2, 3
          ) AS c CROSS JOIN LATERAL ({_PASSES}) AS passing
          LIMIT most;
          GET DIAGNOSTICS returned = ROW_COUNT;
          -- More than could all be ranked: as many as pass.
          FOREACH wanted IN ARRAY ARRAY[paired, common] LOOP
            CONTINUE WHEN wanted IS NULL OR returned >= most;
            RETURN QUERY
            SELECT c.id, c.document_id, c.position, c.hash, {_RANK} AS score FROM (
              SELECT c.id, c.document_id, c.position, c.hash, c.terms
              FROM (SELECT k.* FROM syntera.knowledge_chunks AS k WHERE k.terms @@ wanted OFFSET 0) AS c
              CROSS JOIN LATERAL ({_PASSES}) AS passing
              WHERE c.tenant_id = tenant AND c.index_id = index
              LIMIT {_MOST_CANDIDATES}
            ) AS c
            ORDER BY 5 DESC, 2, 3
            LIMIT most;
            GET DIAGNOSTICS number = ROW_COUNT;
            returned := returned + number;
          END LOOP;
        END $body$
    """)  # noqa: S608  # constants
    offer_function(
        "search_knowledge(uuid, text, text[], text[], text, text[], timestamptz, timestamptz, integer)",
        "Chunks of an index of the caller''s with words of a question, scored from 0 to about 1, in no order",
    )
