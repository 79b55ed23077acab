"""Label names of the models people use are understood; others are refused with what to set."""

import pytest

from vtuber_brain.errors import ModelRefused
from vtuber_brain.sentiment.labels import understand


@pytest.mark.parametrize(
    ("names", "override", "meanings"),
    [
        (["negative", "neutral", "positive"], {}, ["negative", "neutral", "positive"]),
        (["Negative", "NEUTRAL", " Positive "], {}, ["negative", "neutral", "positive"]),
        (["POS", "NEU", "NEG"], {}, ["positive", "neutral", "negative"]),
        (["positif", "netral", "negatif"], {}, ["positive", "neutral", "negative"]),
        (["NEGATIVE", "POSITIVE"], {}, ["negative", "positive"]),
        (
            ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"],
            {},
            ["negative", "negative", "neutral", "positive", "positive"],
        ),
        (
            ["Very Negative", "negative", "neutral", "positive", "very_positive"],
            {},
            ["negative", "negative", "neutral", "positive", "positive"],
        ),
        (["LABEL_0", "LABEL_1"], {"LABEL_0": "negative", "LABEL_1": "positive"}, ["negative", "positive"]),
        (["positive", "negative"], {"positive": "negative", "negative": "positive"}, ["negative", "positive"]),
    ],
)
def test_names_and_overrides_are_understood(names, override, meanings):
    labels = understand(dict(enumerate(names)), override)
    assert labels.toxic == ()
    assert {i: name for name, group in labels.sentiment.items() for i in group} == dict(enumerate(meanings))


def test_stars_are_summed_and_the_likeliest_sentiment_wins():
    labels = understand({i: f"{i + 1} star" + "s" * (i > 0) for i in range(5)}, {})
    mood = labels.mood([0.3, 0.2, 0.1, 0.15, 0.25], [])
    assert mood.sentiment == "negative"
    assert mood.scores == pytest.approx({"negative": 0.5, "neutral": 0.1, "positive": 0.4})
    assert mood.toxicity is None


def test_a_sentiment_the_model_lacks_scores_nothing():
    mood = understand({0: "NEG", 1: "POS"}, {}).mood([0.4, 0.6], [])
    assert (mood.sentiment, mood.scores["neutral"]) == ("positive", 0)


def test_toxicity_stands_outside_the_softmax():
    labels = understand({0: "toxic", 1: "negative", 2: "positive"}, {})
    assert (labels.softmax, labels.toxic) == ((1, 2), (0,))
    assert labels.mood([0.9, 0.1], [0.7]).toxicity == 0.7


@pytest.mark.parametrize(
    ("names", "override", "said"),
    [
        (["LABEL_0", "LABEL_1", "LABEL_2"], {}, "'LABEL_0', 'LABEL_1', 'LABEL_2'"),
        (["negative", "mixed", "positive"], {}, "'mixed'"),
        (["negative", "positive"], {"positive": "happy"}, "'positive'"),
        (["toxic"], {}, "no negative or no positive"),
        (["6 stars", "negative", "positive"], {}, "'6 stars'"),
    ],
)
def test_labels_that_say_nothing_are_refused_with_the_setting_that_mends_it(names, override, said):
    with pytest.raises(ModelRefused, match=r"sentiment\.labels") as refused:
        understand(dict(enumerate(names)), override)
    assert said in str(refused.value)
