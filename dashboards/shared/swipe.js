// A bar between two maps that lie on each other: how much of the upper one is seen.

import {make} from "./rows"

const STEP = 0.05

export function render({model}) {
  const bar = make("div", "bar")
  bar.tabIndex = 0
  for (const [name, value] of Object.entries({role: "slider", "aria-label": "Where the second map begins, percent",
    "aria-valuemin": 0, "aria-valuemax": 100, "aria-orientation": "horizontal"})) { bar.setAttribute(name, value) }
  const [left, right] = [make("span", "side left"), make("span", "side right")]
  bar.append(make("i", "grip"), left, right)
  let share = 0.5
  const stage = () => bar.getRootNode().host?.parentNode?.host ?? bar.getRootNode().host?.parentElement
  const show = () => {
    stage()?.style.setProperty("--ge-swipe", `${share * 100}%`)
    bar.setAttribute("aria-valuenow", Math.round(share * 100))
    left.textContent = model.left
    right.textContent = model.right
  }
  const move = (to) => {
    share = Math.max(0.02, Math.min(0.98, to))
    show()
  }
  bar.addEventListener("pointerdown", (event) => bar.setPointerCapture(event.pointerId))
  bar.addEventListener("pointermove", (event) => {
    if (!bar.hasPointerCapture(event.pointerId)) { return }
    const {left: begin, width} = stage().getBoundingClientRect()
    move((event.clientX - begin) / width)
  })
  bar.addEventListener("keydown", (event) => {
    const step = {ArrowLeft: -STEP, ArrowRight: STEP}[event.key]
    if (step) {
      event.preventDefault()
      move(share + step)
    }
  })
  model.on(["left", "right"], show)
  requestAnimationFrame(show)
  return bar
}
