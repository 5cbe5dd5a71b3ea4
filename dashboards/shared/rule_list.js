// The rules of a style, in the order in which they are applied: swatch, name, condition, and what can be done with each.

import {action, make, mount, redraw} from "./rows"
import {swatch} from "./swatch"

function ruleList(model, host) {
  const send = (type, rule, rest = {}) => model.send_msg({type, key: rule.key, ...rest})
  const row = (rule) => {
    const box = make("li", "rule")
    box.style.setProperty("--depth", rule.depth)
    const head = make("div", "head")
    const name = make("button", "name")
    name.type = "button"
    name.dataset.key = `rule ${rule.key}`
    name.title = `${rule.title}${rule.summary ? `\n${rule.summary}` : ""}`
    if (rule.key === model.selected) {
      name.setAttribute("aria-current", "true")
      box.classList.add("current")
    }
    const text = make("span", "text")
    text.append(make("span", "title", rule.title), make("span", "muted", rule.summary))
    name.append(swatch(rule.swatch), text)
    name.addEventListener("click", () => send("select", rule))
    // The order is changed with the keyboard too, from the rule itself.
    name.addEventListener("keydown", (event) => {
      const step = {ArrowUp: "up", ArrowDown: "down"}[event.key]
      if (!step) { return }
      event.preventDefault()
      if (event.altKey) {
        send(step, rule)
        return
      }
      const names = [...host.querySelectorAll(".name")]
      names[names.indexOf(name) + (step === "up" ? -1 : 1)]?.focus()
    })
    head.append(name, action(rule.visible ? "shown" : "hidden", `${rule.visible ? "Hide" : "Show"} what ${rule.title} draws`,
      `eye ${rule.key}`, () => send("visible", rule, {value: !rule.visible})))
    box.append(head)
    return box
  }
  return () => {
    const list = make("ul")
    list.append(...model.rules.map(row))
    const content = [list]
    if (!model.rules.length) { content.unshift(make("p", "none muted", "There is no rule: nothing is drawn.")) }
    const add = make("button", "more", "Add a rule")
    add.type = "button"
    add.dataset.key = "add"
    add.addEventListener("click", () => model.send_msg({type: "add"}))
    content.push(add)
    redraw(host, content)
  }
}

export function render({model}) {
  return mount(model, "rules", ruleList, ["rules", "selected"])
}
