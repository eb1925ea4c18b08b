"""Puts a plain training script together from the parts that a run used, and no others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from . import plain
from .plan import Plan
from .settings import Settings

ADAPTIVE, ROLLING = {"adam", "adamw"}, {"momentum", "nesterov"}
ADAPTS = ("beta1", "beta2", "eps")
NAMES = (  # the settings that a script may have to know, in the order in which it writes them down
    "learning_rate",
    "weight_decay",
    "momentum",
    *ADAPTS,
    "bias_correction",
    "clip",
    "max_norm",
    "schedule",
    "warmup_steps",
    "gamma",
    "layer_decay",
    "unfrozen",
    "unfreeze_every",
)


def written(plan: Plan) -> str:
    """The script."""
    schedule = plain.schedule(plan.ever("schedule"), plan.ever("warmup_steps") != {0}, plan.total_steps)
    shown = {name for name in NAMES if plan.ever(name) != {getattr(Settings(), name)}}
    shown |= {"gamma"} if "exponential" in plan.ever("schedule") else set()
    rules = "".join(dict.fromkeys(plain.RULES[kind] for kind in _kinds(plan, by_hand=True)))
    needs = {"torch", "safetensors", *(each for each in ("torchvision", "transformers") if each in plan.build)}
    lines = [
        plain.TOP.format(title=plan.title, needs=", ".join(sorted(needs))),
        "\nimport json\n",
        "import math\n" if "math." in schedule + rules else "",
        "\nimport torch\nfrom safetensors.torch import load_file, save_file\n",
        f"\nSTEPS, SEED = {plan.steps}, {plan.seed}\n",
        _changes(plan, shown),
        f"PLATEAU = {plan.plateau}  # from which step on, times what: the validation loss had stopped falling\n"
        if plan.plateau
        else "",
        plain.MODEL.format(build=plan.build.strip()),
        _batches(plan),
        _groups(plan),
        plain.SHELL + rules if rules else "",
        _optimizers(plan),
        schedule,
        _loop(plan, shown, bool(schedule)),
    ]
    return "".join(lines)


def _kinds(plan: Plan, by_hand: bool) -> list[str]:
    return sorted({each.optimizer for each in plan.settings.values() if each.uses_torch != by_hand})


def _changes(plan: Plan, shown: set[str]) -> str:
    """The settings from step 1 on, and every change by hand."""
    lines: list[str] = []
    before: dict[str, Any] = {}
    for step, settings in plan.settings.items():
        values = {"optimizer": settings.optimizer if settings.uses_torch else f"{settings.optimizer} by hand"}
        values |= {name: getattr(settings, name) for name in NAMES if name in shown or name == "learning_rate"}
        new = {name: value for name, value in values.items() if name not in before or before[name] != value}
        if new:
            said = [f"{name}={_literal(value)}" for name, value in new.items()]
            inside = f"dict({', '.join(said)})" if sum(map(len, said)) < 80 else _long(said)
            lines.append(f"    {step}: {inside},")
        before = values
    comment = "# The settings of the first step, and what was changed by hand at later ones.\n"
    return comment + "CHANGES = {\n" + "\n".join(lines) + "\n}\n"


def _literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str | list) else repr(value)


def _long(said: list[str]) -> str:
    return "dict(\n" + "".join(f"        {each},\n" for each in said) + "    )"


def _batches(plan: Plan) -> str:
    if plan.inputs == ["inputs"]:
        return plain.BATCHES.format(inputs=plain.TENSOR)
    return plain.BATCHES.format(inputs=plain.PADDED.format(names=tuple(plan.inputs)))


def _groups(plan: Plan) -> str:
    if not plan.by_layer:
        return plain.GROUPS.format(parameters="model.parameters()", depth="", loop="for decays in (True, False)")
    layers = plain.LAYERS.format(layers="\n".join(f"    {_literal(each)}," for each in plan.layers or []))
    loop = "for depth, layer in enumerate(LAYERS)\n    for decays in (True, False)"
    groups = plain.GROUPS.format(parameters="parameters_of(layer)", depth=", depth=depth", loop=loop)
    return layers + groups + (plain.TRAINED if plan.held else "")


def _optimizers(plan: Plan) -> str:
    lines = [f'    "{kind}": lambda: {plain.FUSED[kind]},' for kind in _kinds(plan, by_hand=False)]
    lines += [f'    "{kind} by hand": lambda: {plain.BY_HAND[kind]},' for kind in _kinds(plan, by_hand=True)]
    return "\n\nOPTIMIZERS = {\n" + "\n".join(lines) + "\n}\n"


def _numbers(plan: Plan, shown: set[str]) -> list[str]:
    """Before a step: the settings' numbers into each group of the optimizer."""
    kinds = plan.ever("optimizer")
    rate = 'rate * now["layer_decay"] ** group["depth"]' if "layer_decay" in shown else "rate"
    decay = 'now["weight_decay"] if group["decays"] else 0.0' if "weight_decay" in shown else "0.0"
    lines = [f'group["lr"] = {rate}', f'group["weight_decay"] = {decay}']
    if kinds & ADAPTIVE and {"beta1", "beta2", "eps"} & shown:
        beta1, beta2, eps = (f'now["{n}"]' if n in shown else repr(getattr(Settings(), n)) for n in ADAPTS)
        lines.append(f'group["betas"], group["eps"] = ({beta1}, {beta2}), {eps}')
    if "bias_correction" in shown:
        lines.append('group["correct"] = now["bias_correction"]')
    if kinds & ROLLING and "momentum" in shown:
        plain_sgd = ' if "sgd" not in now["optimizer"] else 0.0' if "sgd" in kinds else ""
        lines.append(f'group["momentum"] = now["momentum"]{plain_sgd}')
    return ["for group in optimizer.param_groups:", *_indented(lines)]


def _held(plan: Plan, shown: set[str]) -> list[str]:
    """Before a step: which layers train."""
    if not plan.held:
        return ["model.train()"]
    thawed = ' + (step - 1) // now["unfreeze_every"]' if "unfreeze_every" in shown else ""
    if thawed and 0 in plan.ever("unfreeze_every"):
        thawed = ' + ((step - 1) // now["unfreeze_every"] if now["unfreeze_every"] else 0)'
    trained = f'now["unfrozen"]{thawed}'
    return [
        f'hold(len(LAYERS) if now["unfrozen"] is None else {trained})'
        if None in plan.ever("unfrozen")
        else f"hold({trained})"
    ]


def _clipping(plan: Plan) -> list[str]:
    lines = []
    for kind in sorted({each.clip for each in plan.settings.values() if each.max_norm is not None}):
        asked = ['now["max_norm"] is not None'] if None in plan.ever("max_norm") else []
        asked += [f'now["clip"] == {_literal(kind)}'] if len(plan.ever("clip")) > 1 else []
        lines += [f"if {' and '.join(asked)}:", *_indented(plain.CLIP[kind])] if asked else plain.CLIP[kind]
    return lines


def _loop(plan: Plan, shown: set[str], scheduled: bool) -> str:
    call = "model(inputs)" if plan.inputs == ["inputs"] else "model(**inputs)"
    body = [
        "change = CHANGES.get(step, {})",
        "now.update(change)",
        'if "optimizer" in change:  # a new one knows nothing of the steps before',
        '    optimizer = OPTIMIZERS[change["optimizer"]]()',
        'rate = now["learning_rate"]' + (" * multiplier(step)" if scheduled else ""),
        *_numbers(plan, shown),
        *_held(plan, shown),
        "",
        "inputs, targets = batch(step)",
        "model.zero_grad()",
        "torch.manual_seed((SEED * 0x9E3779B97F4A7C15 + step - 1) % 2**63)  # of dropout",
        f"logits = {call}{plan.logits and '.' + plan.logits}",
        "right = logits.gather(1, targets.unsqueeze(1)).squeeze(1)",
        "loss = (logits.logsumexp(dim=1) - right).mean()  # cross-entropy",
        "loss.backward()",
        *_clipping(plan),
        "optimizer.step()",
        "",
        "losses.append(loss.item())",
        'print(f"step {step:4d}   loss {losses[-1]:.4f}")',
    ]
    weights = "model.state_dict()"
    if plan.kept is not None:
        weights = "best"
        body += [
            f"if step == {plan.kept}:  # the lowest validation loss",
            "    best = {name: t.clone() for name, t in model.state_dict().items()}",
        ]
    loop = "\n".join(["", "", "now, losses = {}, []", "for step in range(1, STEPS + 1):", *_indented(body), ""])
    return loop + plain.END.replace("{weights}", weights)


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" if line else line for line in lines]
