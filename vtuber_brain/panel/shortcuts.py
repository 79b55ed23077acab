"""Every key there is, on one overlay."""

from nicegui import ui

from vtuber_brain.panel.seat import Seat

KEYS = (
    (("M", "space"), "key_mute"),
    (("S",), "key_skip"),
    (("T",), "key_say"),
    (("/",), "key_try"),
    (("A", "D"), "key_held"),
    (("J", "K"), "key_choose"),
    (("+", "-"), "key_rate"),
    (("E",), "key_correct"),
    (("1", "…", "8"), "key_tabs"),
    (("L",), "key_theme"),
    (("?",), "key_help"),
)


def shortcuts(seat: Seat) -> ui.dialog:
    """The overlay; `open` shows it, Escape puts it away."""
    with ui.dialog() as dialog, ui.card().classes("shortcuts"):
        ui.label(seat.say["shortcuts"].partition(" (")[0]).classes("card-title")
        with ui.element("dl"):
            for keys, what in KEYS:
                with ui.element("dt"):
                    for key in keys:
                        ui.element("kbd").classes("key")._text = seat.say.get(key, key)
                with ui.element("dd"):
                    ui.label(seat.say[what])
    return dialog
