"""An inbox for tests that are not about choosing: the newest first, nothing folded, no waves; unless told otherwise."""

from vtuber_brain.chat.choice import Choice
from vtuber_brain.chat.inbox import Inbox
from vtuber_brain.sections import ChatSettings, ChoiceSettings

PLAIN = ChoiceSettings(strategy="newest", fold_likeness=2, wave_viewers=10**9)


def plain_inbox(chat: ChatSettings, metrics, *, on_drop, choice=PLAIN, **options) -> Inbox:
    return Inbox(chat, Choice(choice, lambda: ("mori", "Mori")), metrics, on_drop=on_drop, **options)
