"""Names in inline code lead to the right pages, and to none that does not exist."""

import inspect

import linked_names
import other_projects
import pytest
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.utils import new_document
from numpydoc.xref import make_xref
from sphinx import addnodes
from sphinx.util.inventory import InventoryFile

from skfusion.collect import Tail


def links(text):
    """Return what in a piece of inline code is a link, and to what."""
    found = [piece for piece in linked_names.linked(text) if isinstance(piece, addnodes.pending_xref)]
    return [(piece.astext(), piece["reftarget"]) for piece in found]


@pytest.mark.parametrize("text", ["Tail", "collect.Tail", "skfusion.collect.Tail", "Tail()"])
def test_a_public_name_is_a_link(text):
    assert links(text) == [(text, "skfusion.collect.Tail")]


def test_each_class_that_is_called_in_a_sentence_is_a_link():
    sentence = "SoupClassifier(net, collect=Tail(), merge=m.Uniform(), combine=Nothing())"
    assert links(sentence) == [
        ("SoupClassifier", "skfusion.SoupClassifier"),
        ("Tail", "skfusion.collect.Tail"),
    ]
    assert "".join(piece.astext() for piece in linked_names.linked(sentence)) == sentence


@pytest.mark.parametrize("text", ["Average", "n_members", "tail", "import Tail", "False", "x.Tail()", "barrier"])
def test_other_code_is_left_alone(text):
    assert not linked_names.linked(text)


def test_classes_of_other_projects_are_links():
    assert links("GridSearchCV") == [("GridSearchCV", "sklearn.model_selection.GridSearchCV")]
    assert links("skorch.NeuralNetClassifier") == [
        ("skorch.NeuralNetClassifier", "skorch.classifier.NeuralNetClassifier")
    ]


def test_headings_links_and_the_page_of_the_name_itself_have_no_such_links():
    document = new_document("page", get_default_settings())
    document.settings.env = type("Env", (), {"docname": "api/generated/skfusion.collect.Seeds"})()
    title, link, text = nodes.title(), nodes.reference(), nodes.paragraph()
    for parent in (title, link, text):
        parent += nodes.literal("", "Tail")
        document += parent
    text += nodes.literal("", "Seeds")
    linked_names.LinkNames(document).apply()
    assert not list(title.findall(addnodes.pending_xref)) + list(link.findall(addnodes.pending_xref))
    assert [found["reftarget"] for found in text.findall(addnodes.pending_xref)] == ["skfusion.collect.Tail"]


def test_a_name_of_two_rooms_is_that_of_the_row():
    assert [piece["reftarget"] for piece in linked_names.linked("Average", "combine")] == ["skfusion.combine.Average"]
    cell = nodes.entry("", nodes.paragraph("", "", nodes.literal("", "Average")))
    row = nodes.row("", nodes.entry("", nodes.paragraph("", "combine")), cell)
    assert linked_names.room_of(linked_names.ancestors(cell[0][0])) == "combine"
    assert linked_names.room_of(linked_names.ancestors(row)) == ""


def test_types_of_parameters_are_links_and_words_of_sentences_are_not():
    text = make_xref(
        "sequence of Tensor or joblib.Memory or ModelPool, shape (n_samples,)", linked_names.types(), "all"
    )
    assert ":obj:`joblib.Memory`" in text
    assert ":obj:`ModelPool <skfusion.ModelPool>`" in text
    assert ":obj:`Tensor <torch.Tensor>`" in text
    assert text.startswith("sequence of ")
    assert "(n_samples,)" in text


@pytest.mark.parametrize("title", other_projects.PROJECTS)
def test_inventories_can_be_read_and_list_what_exists(title):
    project = other_projects.PROJECTS[title]
    data = InventoryFile.loads(other_projects.inventory(title, project), uri=project.root).data
    listed = {name: item for kind in data if kind.startswith("py:") for name, item in data[kind].items()}
    assert set(listed) == {name for names in project.pages.values() for name in names.split()}
    for name, item in listed.items():
        assert item.uri.startswith(project.root)
        assert item.uri.partition("#")[2] == name
        other_projects.found(name)


def test_a_name_that_its_library_has_not_is_an_error():
    wrong = other_projects.Project("https://example.org/", {"{name}.html#{name}": "torch.nn.Nothing"})
    with pytest.raises(AttributeError, match="Nothing"):
        other_projects.inventory("wrong", wrong)


def test_kinds_of_an_inventory():
    assert other_projects.role(None) == "py:data"
    assert other_projects.role(KeyError) == "py:exception"
    assert other_projects.role(Tail) == "py:class"
    assert other_projects.role(inspect.isclass) == "py:function"
