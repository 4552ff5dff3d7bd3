"""The Classes artifact: what is written is read, and Kubeflow finds the type by its name."""

from tfx.utils import import_utils

from components.classes import Classes, TaskClasses, read_classes, write_classes
from tests import artifacts


def test_labels_of_any_script_and_the_fingerprint_come_back(tmp_path):
    classes = TaskClasses(('a cat, small', 'größe', '猫', 'x"y'), '0123')
    write_classes(str(tmp_path), classes)
    assert read_classes(str(tmp_path)) == classes
    assert [path.name for path in tmp_path.iterdir()] == ['classes.json']


def test_more_labels_than_an_argument_of_a_container_has_room_for(tmp_path):
    labels = [f'a label of an extensive taxonomy, number {i:05d}' for i in range(5000)]
    assert len(repr(labels)) > 2 ** 17
    assert read_classes(artifacts.classes(tmp_path, labels).uri).labels == tuple(labels)


def test_the_type_is_imported_by_its_name():
    assert import_utils.import_class_by_path(Classes.TYPE_NAME) is Classes
