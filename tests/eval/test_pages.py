"""Reading pages of the corpus."""

from syntera_runtime.models.knowledge import Mark

from .pages import read_page

PAGE = """<html><head><title>The  book</title></head><body>
<div class="navheader">Next</div>
<h1>Chapter 1</h1>Words <b>in</b> line<p>A paragraph.</p>
<h2>First<a class="headerlink">¶</a></h2><ul><li>one</li><li>two</li></ul>
<ol><li><p>long</p><pre>code
  more</pre></li></ol>
<h2>Second</h2><table><tr><th>a</th><th>b</th></tr><tr><td>1|2</td><td>3</td></tr></table>
<h3>Below</h3><div>Text<div>deeper</div></div>
</body></html>"""

TEXT = """# Chapter 1

Words in line

A paragraph.

## First

- one
- two

- long

```
code
  more
```

## Second

| a | b |
| --- | --- |
| 1\\|2 | 3 |

### Below

Text

deeper"""


def test_page_is_read_in_order_without_navigation() -> None:
    extracted = read_page(PAGE.encode(), language="en")
    assert extracted.text == TEXT
    assert (extracted.title, extracted.language) == ("The book", "en")


def test_marks_stand_where_headings_begin() -> None:
    extracted = read_page(PAGE.encode(), language="en")
    assert extracted.marks == (
        Mark(0, ("Chapter 1",)),
        Mark(TEXT.index("## First"), ("Chapter 1", "First")),
        Mark(TEXT.index("## Second"), ("Chapter 1", "Second")),
        Mark(TEXT.index("### Below"), ("Chapter 1", "Second", "Below")),
    )


def test_page_without_a_heading_is_read_too() -> None:
    extracted = read_page(b"<p>Alone", language="en")
    assert (extracted.text, extracted.marks, extracted.title) == ("Alone", (), None)
