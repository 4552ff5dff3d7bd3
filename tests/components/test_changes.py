"""Tasks and classes that the model being served knows and a new one does not: which are named, and what is allowed."""

import pytest

from components.blessing_gate.changes import compare, order_remarks
from model_code.tasks import Mixture
from tests import testing

PETS = testing.task('pets', 'image')
TONES = testing.task('tones', 'audio')
KITCHEN = testing.task('kitchen', 'image', label_kind='groups', label_groups=('verb', 'noun'))


def card_of(**classes):
    """A model card with these tasks; names before a colon are label groups."""
    return {'tasks': [
        {'name': name, 'classes': list(labels),
         'label_groups': list(dict.fromkeys(label.partition(':')[0] for label in labels if ':' in label))}
        for name, labels in classes.items()]}


def changes_of(task, before, now, **mixture):
    return compare(card_of(**{task.name: before}), '3', Mixture((task,), **mixture), {task.name: now})


@pytest.mark.parametrize('before, now, sentence', [
    (['cat', 'dog'], ['cats', 'dog'],
     "pets: its data no longer have the class 'cat', which version 3 knows. 'cats' is new: was 'cat' renamed? If that "
     "is intended, allow it: Gate(..., dropped_classes=('cat',))."),
    (['cat', 'dog'], ['tiger', 'dog'],
     "pets: its data no longer have the class 'cat', which version 3 knows. 'tiger' is new: was 'cat' renamed? If that "
     "is intended, allow it: Gate(..., dropped_classes=('cat',))."),
    (['cat', 'dog', 'cow'], ['dog', 'cow'],
     "pets: its data no longer have the class 'cat', which version 3 knows. If that is intended, allow it: Gate(..., "
     "dropped_classes=('cat',))."),
    (['a_cat', 'dog', 'cow'], ['emu', 'A_Cat', 'cow'],
     "pets: its data no longer have the 2 classes 'a_cat', 'dog', which version 3 knows. 'A_Cat' is new: was 'a_cat' "
     "renamed? If that is intended, allow it: Gate(..., dropped_classes=('a_cat', 'dog'))."),
])
def test_a_lost_class_is_named_with_what_it_may_be_now(before, now, sentence):
    changes = changes_of(PETS, before, now)
    assert changes.reasons == [sentence] and changes.lost_classes == {'pets': sentence}


def test_of_many_lost_classes_the_first_are_named():
    reason, = changes_of(PETS, [f'c{i:02d}' for i in range(20)], ['x', 'y']).reasons
    assert "the 20 classes 'c00'" in reason and "'c09' and 10 more," in reason and "'c10'" not in reason
    assert reason.endswith("'c09', ...)).")


def test_what_the_config_names_may_be_lost_and_names_that_nothing_lacks_are_harmless():
    allowed = testing.changed(PETS, dropped_classes=('cat', 'dog', 'unheard_of'))
    assert changes_of(allowed, ['cat', 'dog', 'cow'], ['dog', 'cow']).reasons == []
    reason, = changes_of(allowed, ['cat', 'dog', 'cow'], ['dog', 'emu']).reasons
    assert "the class 'cow'" in reason and 'cat' not in reason


def test_new_classes_are_only_remarked_on():
    changes = changes_of(PETS, ['cat'], ['cat', 'dog', 'emu'])
    assert changes.reasons == []
    assert changes.remarks == ["pets: version 3 does not know the 2 classes 'dog', 'emu' of its data."]
    assert changes_of(PETS, ['cat', 'dog'], ['dog', 'cat']).remarks == []


def test_a_lost_task_is_named_and_a_new_one_remarked_on():
    changes = compare(card_of(pet=['cat', 'dog'], tones=['low']), '3', Mixture((PETS, TONES)),
                      {'pets': ['cat', 'dog'], 'tones': ['low']})
    assert changes.lost_tasks == {
        'pet': "The config no longer has the task pet, which version 3 knows. 'pets' is new: was 'pet' renamed? If "
               "that is intended, allow it: Mixture(..., dropped_tasks=('pet',))."}
    assert changes.remarks == ['The task pets is new: version 3 does not know it.']


def test_a_task_that_the_config_names_may_be_lost():
    card = card_of(pets=['cat', 'dog'], tones=['low'])
    mixture = Mixture((PETS,), dropped_tasks=('tones', 'unheard_of'))
    assert compare(card, '3', mixture, {'pets': ['cat', 'dog']}).reasons == []
    assert len(compare(card, '3', Mixture((PETS,)), {'pets': ['cat', 'dog']}).reasons) == 1


@pytest.mark.parametrize('card', [{}, {'tasks': []}, {'tasks': [{'name': 'pets'}]}])
def test_a_version_whose_card_says_nothing_rejects_nothing(card):
    changes = compare(card, '3', Mixture((PETS,)), {'pets': ['cat', 'dog']})
    assert changes.reasons == [] and changes.remarks == []


class TestLabelGroups:
    NOW = ['verb:cut', 'verb:mix', 'noun:egg']

    def test_a_renamed_one_stands_for_all_its_classes(self):
        before = ['action:cut', 'action:mix', 'noun:egg', 'noun:ham']
        reason, = changes_of(KITCHEN, before, self.NOW).reasons
        assert reason == (
            "kitchen: its data no longer have the label group 'action' and the class 'noun:ham', which version 3 "
            "knows. 'verb' is new: was 'action' renamed? If that is intended, allow it: Gate(..., "
            "dropped_classes=('action', 'noun:ham')).")
        allowed = testing.changed(KITCHEN, dropped_classes=('action', 'noun:ham'))
        assert changes_of(allowed, before, self.NOW).reasons == []

    def test_another_order_is_remarked_on(self):
        card, new = card_of(kitchen=['noun:egg', 'verb:cut']), card_of(kitchen=['verb:cut', 'noun:egg'])
        assert order_remarks(card, '3', new)[1] == (
            'kitchen: the order of the label groups is verb, noun; in version 3 it is noun, verb.')


@pytest.mark.parametrize('before, now, moved', [
    (['a', 'b'], ['b', 'a'], True), (['a', 'b'], ['a', 'c', 'b'], True), (['a', 'b', 'c'], ['b', 'c'], True),
    (['a', 'b'], ['a', 'b', 'c'], False), (['a', 'b'], ['a'], False), (['a'], ['b'], False)])
def test_scores_that_move_are_remarked_on(before, now, moved):
    remarks = order_remarks(card_of(pets=before), '3', card_of(pets=now, tones=['low']))
    assert len(remarks) == moved and all('pets_scores by their place' in remark for remark in remarks)
