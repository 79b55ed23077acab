"""A persona beside the base on twenty prompts that stand in no corpus: `python -m benchmarks.voices mori bolt`."""

import json
import sys

from vtuber_brain.config import Settings, shipped
from vtuber_brain.context.personas import Persona, load_persona
from vtuber_brain.context.prompt import opening
from vtuber_brain.engine.wire import Generate, Sampling
from vtuber_brain.models import resolve
from vtuber_brain.night import configure_of
from vtuber_brain.retrain.lineup import Lineup

SEED = 7


def table(persona: Persona) -> str:
    """The prompts, what the base says with the persona's prompt and examples, and what she says with her lora."""
    settings = Settings()
    names = {"base": None, persona.display_name: persona.lora}
    lineup = Lineup(configure_of(settings, resolve(settings.model.path)), names)
    file = shipped("configs", "personas") / persona.name / "eval.jsonl"
    prompts = [json.loads(line)["content"] for line in file.read_text(encoding="utf-8").splitlines()]
    asked = [
        Generate(
            id="",
            messages=(*opening(persona), {"role": "user", "content": prompt}),
            max_tokens=persona.style.max_tokens,
            sampling=Sampling(**persona.sampling.model_dump(exclude={"seed"}), seed=SEED),
            stop=persona.stop,
            lora=name,
        )
        for name in names
        for prompt in prompts
    ]
    said = lineup.answers(asked)
    rows = zip(prompts, said[: len(prompts)], said[len(prompts) :], strict=True)
    lines = [f"| a viewer | the base with {persona.display_name}'s prompt | {persona.display_name} |", "|---|---|---|"]
    lines += ["| " + " | ".join(" ".join(text.split()).replace("|", "\\|") for text in row) + " |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or ["mori"]:
        print(table(load_persona(chosen)), end="\n\n")
