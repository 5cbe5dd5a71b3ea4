// What a run said, line by line. New lines are seen as they come, unless somebody reads further up.

import {make} from "./rows"

export function render({model}) {
  const host = make("div", "log")
  host.tabIndex = 0
  host.setAttribute("role", "log")
  host.setAttribute("aria-live", "off")
  host.setAttribute("aria-label", "Log")
  const draw = () => {
    const atEnd = host.scrollHeight - host.scrollTop - host.clientHeight < 24
    const {scrollTop} = host
    const rows = model.lines.map(({at, text, printed}) => {
      const row = make("div", printed ? "line printed" : "line")
      row.append(make("time", "", new Date(at * 1000).toISOString().slice(11, 19)), make("span", "", text))
      return row
    })
    host.replaceChildren(...rows.length ? rows : [make("p", "none muted", model.message)])
    host.scrollTop = atEnd ? host.scrollHeight : scrollTop
  }
  model.on(["lines", "message"], draw)
  model.on("after_render", () => { host.scrollTop = host.scrollHeight })
  draw()
  return host
}
