"""The words of captions as labels."""

from media import listing
from media.listing.collector import words_of
from model_code.data import Columns
from tests import testing


def _words(directory, rows, **data):
    testing.write_manifest(directory, rows, ('path', 'caption', 'split'))
    source = testing.source('photos', 'image', folder=str(directory), manifest='manifest.csv', label_kind='words',
                            columns=Columns(label='caption'), **data)
    return listing.list_media(source), source


def test_the_words_of_a_caption():
    assert words_of("The DOG's ball, a 2nd one!") == ['the', "dog's", 'ball', 'a', '2nd', 'one']
    assert words_of('Cafe\u0301 under_score') == ['café', 'under', 'score']
    assert words_of('... !') == []


def test_the_labels_are_the_most_frequent_words_of_the_train_split(tmp_path):
    rows = [('1.png', 'A photo of a CAT.', 'train'), ('2.png', "a cat's photo", 'train'),
            ('3.png', 'the dog, photo', 'train'), ('4.png', 'zebra zebra zebra', 'test'), ('5.png', 'a zebra', 'test')]
    listed, source = _words(tmp_path, rows, most_words=3)
    assert [(entry.path, entry.labels) for entry in listed.entries] == [
        ('1.png', ('a', 'photo', 'cat')), ('2.png', ('a', 'photo')), ('3.png', ('photo',)), ('5.png', ('a',))]
    assert listing.classes_of(source, listed) == ('a', 'cat', 'photo')
    rejected, = listed.rejected
    assert (rejected.path, rejected.reason) == ('4.png', 'bad_label') and 'is one of the 3 labels' in rejected.detail
    listed, _ = _words(tmp_path, rows, most_words=3, allow_unlabelled=True)
    assert [entry.labels for entry in listed.entries][3] == ()


def test_classes_name_the_words(tmp_path):
    listed, _ = _words(tmp_path, [('1.png', 'a cat', 'train'), ('2.png', 'a dog', 'test')], classes=('cat', 'dog'))
    assert [entry.labels for entry in listed.entries] == [('cat',), ('dog',)]


def test_the_rare_words_of_a_rejected_row_are_no_lost_class(tmp_path):
    rows = [('1.png', 'a cat', 'train'), ('../2.png', 'a zebra', 'train'), ('3.png', 'a cat', 'test')]
    listed, _ = _words(tmp_path, rows)
    assert len(listed.rejected) == 1 and listed.rejected_labels == {'a'}
