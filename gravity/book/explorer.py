"""Sliders and plots that recompute Gravity's step in the reader's browser.

The page that shows them carries BokehJS and the data itself: it needs neither a server
nor the network. Python draws the first picture with `gravity.kinematics`; afterwards
JavaScript follows the sliders, and the tests compare what it computes with `data`.
"""

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from gravity import kinematics

if TYPE_CHECKING:
    from bokeh.models import Slider
    from bokeh.plotting import figure as Figure  # noqa: N812
    from IPython.display import HTML

UPDATES = 30
"""How many updates the paths show."""

SLIDERS = {
    "learning_rate": ("Learning rate l", 0.01, 1.0, 0.01),
    "m": ("Max-step gradient m", 0.1, 5.0, 0.1),
    "beta": ("Moving average β", 0.0, 0.99, 0.01),
    "alpha": ("First displacement α", 0.0, 0.5, 0.01),
    "g": ("Gradient g", -10.0, 10.0, 0.1),
}
"""Each slider's title, first and last value, and step."""

# The three initial velocities in units of α/l, and how their paths are drawn: Okabe and
# Ito's colours, and dashes that tell them apart in greyscale.
STARTS = {
    "up": (1, "V₀ = +α/l", "#0072B2", "dashed"),
    "none": (0, "V₀ = 0", "#D55E00", "solid"),
    "down": (-1, "V₀ = −α/l", "#009E73", "dotdash"),
}
GREY = "#808080"

SCRIPT = """
const [l, m, beta, alpha, g] = sliders.map((slider) => slider.value)
const bend = (x) => x / (1 + (x / m) ** 2)
const slopes = curve.data.g
curve.data = {g: slopes, gravity: slopes.map((x) => -l * bend(x)),
              descent: slopes.map((x) => -l * x)}
mark.data = {g: [g], gravity: [-l * bend(g)], descent: [-l * g]}
const made = path.data.made
const next = {made: made, W_descent: made.map((n) => -l * g * n)}
for (const [name, sign] of Object.entries(signs)) {
  let V = sign * alpha / l, W = 0
  const velocities = [V], weights = [W]
  for (let t = 0; t + 1 < made.length; t++) {
    const beta_hat = (beta * t + 1) / (t + 2)
    V = beta_hat * V + (1 - beta_hat) * bend(g)
    W -= l * V
    velocities.push(V)
    weights.push(W)
  }
  next["V_" + name] = velocities
  next["W_" + name] = weights
}
path.data = next
"""

# A page of the book says its colour scheme in an attribute; elsewhere it stays light.
# Colours are those of `gravity.book.dark`. Bokeh gives its sliders no accessible names.
FINISH = """
(() => {
  const page = document.documentElement
  const find = (node, name, found = []) => {
    for (const each of node.querySelectorAll("*")) {
      if (each.matches(name)) found.push(each)
      if (each.shadowRoot) find(each.shadowRoot, name, found)
    }
    return found
  }
  const paint = (box, models) => {
    const dark = page.dataset.theme === "dark"
    const [ground, text, grid] = dark ? ["#121212", "#e6e6e6", "#2e2e2e"]
                                      : ["#ffffff", "#222222", "#dddddd"]
    box.style.background = ground
    box.style.color = text
    for (const plot of models) {
      plot.background_fill_color = ground
      plot.outline_line_color = grid
      plot.title.text_color = text
      for (const axis of [...plot.below, ...plot.left])
        axis.axis_label_text_color = axis.major_label_text_color
          = axis.axis_line_color = axis.major_tick_line_color
          = axis.minor_tick_line_color = text
      for (const each of [...plot.center, ...plot.above]) {
        if ("grid_line_color" in each) each.grid_line_color = grid
        if ("label_text_color" in each) {
          each.label_text_color = text
          each.background_fill_color = ground
          each.border_line_color = grid
        }
      }
    }
    for (const each of find(box, ".bk-input-group")) each.style.color = text
  }
  const wait = setInterval(() => {
    const box = document.querySelector("[data-explorer]")
    const sliders = box ? find(box, ".noUi-handle") : []
    const drawn = window.Bokeh?.documents.find(
      (each) => each.get_model_by_name("step"))
    if (!drawn || sliders.length < NAMES.length) return
    clearInterval(wait)
    sliders.forEach((each, place) => each.setAttribute("aria-label", NAMES[place]))
    const models = PLOTS.map((name) => drawn.get_model_by_name(name))
    const follow = () => paint(box, models)
    follow()
    new MutationObserver(follow).observe(page, {attributeFilter: ["data-theme"]})
  }, 50)
})()
"""


def data(
    learning_rate: float, m: float, beta: float, alpha: float, g: float
) -> dict[str, dict[str, list[float]]]:
    """Return what the explorer shows for one position of its sliders.

    Args:
        learning_rate: the learning rate l.
        m: the max-step gradient, positive.
        beta: the moving average's parameter, from 0 to 1.
        alpha: α, the scale of the first displacement.
        g: the gradient of the one weight, the same in every update.

    Returns:
        `curve`, the steps of Eq. 18 and Eq. 14 over the gradient; `mark`, the same at
        `g`; `path`, velocity and weight after 0 to 30 updates for three initial
        velocities, α/l, 0 and -α/l, and the weight that gradient descent moves.
    """
    slopes = np.linspace(-10, 10, 401)
    made = np.arange(UPDATES + 1)
    path = {"made": made, "W_descent": -learning_rate * g * made}
    zeta = kinematics.gradient_term(g, m)
    sigma = kinematics.velocity_std(alpha, learning_rate)
    for name, (sign, *_) in STARTS.items():
        V: list[Any] = [sign * sigma]
        W: list[Any] = [0.0]
        for t in range(UPDATES):
            beta_hat = kinematics.effective_beta(t, beta)
            V.append(kinematics.moving_average(V[-1], zeta, beta_hat))
            W.append(W[-1] + kinematics.velocity_step(V[-1], learning_rate))
        path |= {f"V_{name}": np.array(V), f"W_{name}": np.array(W)}
    columns: dict[str, dict[str, Any]] = {
        "curve": {
            "g": slopes,
            "gravity": kinematics.gravity_step(slopes, learning_rate, m),
            "descent": kinematics.gradient_descent_step(slopes, learning_rate),
        },
        "mark": {
            "g": [g],
            "gravity": [kinematics.gravity_step(g, learning_rate, m)],
            "descent": [kinematics.gradient_descent_step(g, learning_rate)],
        },
        "path": path,
    }
    return {
        source: {name: np.asarray(values).tolist() for name, values in table.items()}
        for source, table in columns.items()
    }


def show(
    learning_rate: float = 0.1,
    m: float = 1.0,
    beta: float = 0.9,
    alpha: float = 0.1,
    g: float = 2.0,
) -> "HTML":
    """Return the explorer, ready to be displayed.

    Args:
        learning_rate: where the slider of l stands at first. Defaults to 0.1.
        m: where the slider of m stands at first. Defaults to 1.
        beta: where the slider of β stands at first. Defaults to 0.9.
        alpha: where the slider of α stands at first. Defaults to 0.1, ten times the
            paper's, so that one sees it.
        g: where the slider of the gradient stands at first. Defaults to 2.

    Raises:
        ValueError: a value that its slider doesn't reach.
    """
    from bokeh.embed import components
    from bokeh.layouts import column
    from bokeh.models import ColumnDataSource, CustomJS
    from bokeh.resources import Resources
    from IPython.display import HTML

    values = {"learning_rate": learning_rate, "m": m, "beta": beta, "alpha": alpha}
    sliders = _sliders(values | {"g": g})
    first = data(learning_rate, m, beta, alpha, g)
    sources = {
        name: ColumnDataSource(table, name=name) for name, table in first.items()
    }
    follow = CustomJS(
        args={
            "sliders": sliders,
            "signs": {name: sign for name, (sign, *_) in STARTS.items()},
            **sources,
        },
        code=SCRIPT,
    )
    for slider in sliders:
        slider.js_on_change("value", follow)
    plots = _step_plot(sources), *_path_plots(sources["path"])
    script, picture = components(
        column(*sliders, *plots, sizing_mode="stretch_width", name="explorer")
    )
    # BokehJS goes into the page, so that it works from a file and in Colab alike.
    library = Resources(mode="inline", components=["bokeh", "bokeh-widgets"]).render()
    last = first["path"]
    names = json.dumps([title for title, *_ in SLIDERS.values()])
    drawn = json.dumps([plot.name for plot in plots])
    finish = FINISH.replace("NAMES", names).replace("PLOTS", drawn)
    return HTML(
        f'{library}<div data-explorer role="group" aria-label="Explorer: five '
        "sliders, and three plots of the step, the velocity and the weight that follow "
        'them" '
        'style="background: #fff; color: #222; padding: 0.5rem">'
        f"{picture}</div>{script}<script>{finish}</script>"
        "<noscript><p>The sliders need JavaScript. At first "
        f"they stand at l = {learning_rate:g}, m = {m:g}, β = {beta:g}, α = {alpha:g} "
        f"and g = {g:g}. There Gravity's step without memory is "
        f"{first['mark']['gravity'][0]:.4g}, that of gradient descent "
        f"{first['mark']['descent'][0]:.4g}; and {UPDATES} updates from V₀ = 0 move "
        f"the weight by {last['W_none'][-1]:.4g}, those of gradient descent by "
        f"{last['W_descent'][-1]:.4g}.</p></noscript>"
    )


def _sliders(values: dict[str, float]) -> "list[Slider]":
    from bokeh.models import Slider

    sliders = []
    for name, (title, start, end, step) in SLIDERS.items():
        value = values[name]
        if not start <= value <= end:
            raise ValueError(
                f"Argument `{name}` must be from {start:g} to {end:g}. "
                f"Received: {name}={value!r}"
            )
        sliders.append(
            Slider(name=name, title=title, start=start, end=end, step=step, value=value)
        )
    return sliders


def _plot(title: str, x: str, y: str) -> "Figure":
    from bokeh.plotting import figure

    return figure(
        name=title.split()[0].lower(),
        title=title,
        x_axis_label=x,
        y_axis_label=y,
        height=290,
        sizing_mode="stretch_width",
        # Filled, it would leave a white line at its edges on a dark page.
        border_fill_color=None,
        toolbar_location=None,
        tools="",
    )


def _step_plot(sources: dict[str, object]) -> "Figure":
    plot = _plot("Step without memory", "Gradient g", "Step ΔW")
    curve, mark = sources["curve"], sources["mark"]
    bent = plot.line(
        "g",
        "gravity",
        source=curve,
        color="#D55E00",
        line_width=2,
        legend_label="Gravity",
    )
    plot.line(
        "g",
        "descent",
        source=curve,
        color=GREY,
        line_dash="dashed",
        legend_label="Gradient descent",
    )
    dot = plot.scatter("g", "gravity", source=mark, color="#D55E00", size=10)
    plot.scatter("g", "descent", source=mark, color=GREY, size=8, marker="square")
    # Gradient descent may leave the frame; Gravity's curve would be flat beside it.
    plot.y_range.renderers = [bent, dot]
    _lift_legend(plot)
    return plot


def _path_plots(path: object) -> "tuple[Figure, Figure]":
    velocity = _plot("Velocity", "Updates made", "Velocity V")
    weight = _plot("Weight", "Updates made", "Distance moved W − W₀")
    lines = []
    for name, (_, label, color, dash) in STARTS.items():
        style = {"color": color, "line_dash": dash, "line_width": 2}
        velocity.line("made", f"V_{name}", source=path, legend_label=label, **style)
        lines.append(weight.line("made", f"W_{name}", source=path, **style))
    weight.line(
        "made",
        "W_descent",
        source=path,
        color=GREY,
        line_dash="dotted",
        line_width=2,
        legend_label="Gradient descent",
    )
    weight.y_range.renderers = lines
    for plot in (velocity, weight):
        _lift_legend(plot)
    return velocity, weight


def _lift_legend(plot: "Figure") -> None:
    # On a phone's narrow plot it would lie on the curves.
    (legend,) = plot.legend
    plot.add_layout(legend, "above")
    legend.orientation = "horizontal"
    legend.spacing = 12
    legend.padding = legend.margin = 2
