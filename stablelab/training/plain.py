"""The lines of a plain training script: what each part of a run looks like without the workbook."""

from __future__ import annotations

from collections.abc import Collection

TOP = '''\
"""{title}

Run it in this folder: python train.py. It needs {needs}, and nothing of the workbook.

start.safetensors holds the weights that training began with, data.safetensors the training examples and, of each
step, which of them make up its batch.
"""
'''

MODEL = """
# The model, with the weights that training began with.
{build}
model.load_state_dict(load_file("start.safetensors"))
"""

BATCHES = """
# The examples, and of each step the rows of its batch.
data = load_file("data.safetensors")
rows_of_step = data["rows"].split(data["sizes"].tolist())


def batch(step):
    rows = rows_of_step[step - 1]
    {inputs}
    return inputs, data["targets"][rows]
"""
TENSOR = 'inputs = data["inputs"][rows]'
PADDED = """\
longest = int(data["attention_mask"][rows].sum(dim=1).max())  # no more padding than the batch needs
    inputs = {{name: data[name][rows, :longest].long() for name in {names}}}"""

GROUPS = """

# Weight decay acts on matrices and kernels, not on biases and norms.
groups = [
    dict(params=[p for p in {parameters} if (p.ndim >= 2) == decays], decays=decays{depth})
    {loop}
]
groups = [group for group in groups if group["params"]]
"""
LAYERS = """

# The layers, from the head down to the input.
LAYERS = [
{layers}
]


def parameters_of(layer):
    return [p for part in layer for name, p in model.named_parameters() if f"{{name}}.".startswith(f"{{part}}.")]
"""
TRAINED = '''

def hold(trained):
    """Only so many layers train, counted from the head; the others stand in evaluation mode."""
    model.train()
    for depth, layer in enumerate(LAYERS):
        for part in layer:
            if depth >= trained and part in modules:
                modules[part].eval()
        for p in parameters_of(layer):
            p.requires_grad_(depth < trained)


modules = dict(model.named_modules())
'''

FUSED = {
    "sgd": "torch.optim.SGD(groups, fused=True)",
    "momentum": "torch.optim.SGD(groups, momentum=0.9, fused=True)",
    "nesterov": "torch.optim.SGD(groups, momentum=0.9, nesterov=True, fused=True)",
    "adam": "torch.optim.Adam(groups, fused=True)",
    "adamw": "torch.optim.AdamW(groups, fused=True)",
}
BY_HAND = {
    "sgd": "ByHand(groups, descend)",
    "momentum": "ByHand(groups, roll)",
    "nesterov": "ByHand(groups, roll_ahead)",
    "adam": "ByHand(groups, adapt)",
    "adamw": "ByHand(groups, adapt_decoupled)",
}
SHELL = '''

class ByHand(torch.optim.Optimizer):
    """An optimizer whose rule is a function of a parameter, its gradient, its state and the settings of its group."""

    def __init__(self, groups, rule):
        usual = dict(lr=1.0, weight_decay=0.0, momentum=0.9, betas=(0.9, 0.999), eps=1e-8, correct=True)
        super().__init__(groups, usual)
        self.rule = rule

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.rule(p, p.grad, self.state[p], group)
'''
DESCEND = '''

def descend(theta, g, state, group):
    """Gradient descent."""
    theta.mul_(1 - group["lr"] * group["weight_decay"]).add_(g, alpha=-group["lr"])
'''
ROLL = '''

def roll(theta, g, state, group, ahead=False):
    """Momentum: Polyak 1964; with ahead, Nesterov 1983 as Sutskever et al. 2013 write it."""
    b = state.setdefault("b", torch.zeros_like(theta))
    b.mul_(group["momentum"]).add_(g)
    if group["weight_decay"]:
        b.add_(theta, alpha=group["weight_decay"])
    if not ahead:
        theta.add_(b, alpha=-group["lr"])
        return
    theta.mul_(1 - group["lr"] * group["weight_decay"])
    theta.add_(g, alpha=-group["lr"]).add_(b, alpha=-group["lr"] * group["momentum"])


def roll_ahead(theta, g, state, group):
    roll(theta, g, state, group, ahead=True)
'''
ADAPT = '''

def adapt(theta, g, state, group, decoupled=False):
    """Adam: Kingma & Ba 2015, Algorithm 1; with decoupled decay, AdamW: Loshchilov & Hutter 2019, Algorithm 2."""
    lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
    t = state["t"] = state.get("t", 0) + 1
    m, v = (state.setdefault(name, torch.zeros_like(theta)) for name in "mv")
    if decay and decoupled:
        theta.mul_(1 - lr * decay)
    elif decay:
        g = g.add(theta, alpha=decay)
    m.lerp_(g, 1 - beta1)
    v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    c1, c2 = (1 - beta1**t, math.sqrt(1 - beta2**t)) if group["correct"] else (1.0, 1.0)
    theta.addcdiv_(m, v.sqrt().add_(c2 * group["eps"]), value=-lr * c2 / c1)


def adapt_decoupled(theta, g, state, group):
    adapt(theta, g, state, group, decoupled=True)
'''
RULES = {"sgd": DESCEND, "momentum": ROLL, "nesterov": ROLL, "adam": ADAPT, "adamw": ADAPT}

CLIP = {
    "norm": ['torch.nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], now["max_norm"])'],
    "tensor": [
        "for p in model.parameters():",
        "    if p.grad is not None:",
        '        p.grad.mul_((now["max_norm"] / (p.grad.norm() + 1e-6)).clamp(max=1))',
    ],
    "value": ['torch.nn.utils.clip_grad_value_(model.parameters(), now["max_norm"])'],
}
END = """
with open("losses.json", "w") as file:
    json.dump(losses, file)
save_file({name: t.cpu().contiguous() for name, t in {weights}.items()}, "trained.safetensors")
"""


def schedule(kinds: Collection[str], warmup: bool, total_steps: int) -> str:
    """The function that multiplies the learning rate at a step, with the schedules that were used and no others."""
    if not warmup and set(kinds) == {"constant"}:
        return ""
    body = {
        "exponential": 'return now["gamma"] ** k',
        "cosine": f"return 0.5 * (1 + math.cos(math.pi * min(k / max({total_steps} - warmup, 1), 1)))",
        "plateau": "return [factor for first, factor in PLATEAU if step >= first][-1]",
        "constant": "return 1.0",
    }
    lines = ["def multiplier(step):", '    """What the learning rate is multiplied with at a step, counted from 1."""']
    lines += (
        ['    warmup = now["warmup_steps"]' if warmup else "    warmup = 0"]
        if {"cosine"} & set(kinds) or warmup
        else []
    )
    if warmup:
        lines += ["    if step - 1 < warmup:", "        return step / warmup"]
    if {"exponential", "cosine"} & set(kinds):
        lines += ["    k = step - 1 - warmup" if warmup else "    k = step - 1"]
    if len(kinds) == 1:
        lines += [f"    {body[next(iter(kinds))]}"]
    else:
        for kind in sorted(kinds):
            lines += [f'    if now["schedule"] == "{kind}":', f"        {body[kind]}"]
    return "\n\n" + "\n".join(lines) + "\n"
