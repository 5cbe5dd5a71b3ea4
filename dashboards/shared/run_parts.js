// What the lists of runs share: the sign of a state, and times that go on by themselves.

import {make} from "./rows"

// Each state has a shape of its own, so that nothing is told by colour alone.
const SIGNS = {
  queued: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18m0 2a7 7 0 1 0 0 14 7 7 0 0 0 0-14m-1 2.500h2v4.100l3 3-1.400 1.400-3.600-3.600z",
  running: "M12 3a9 9 0 0 1 9 9h-2a7 7 0 1 0-7 7v2a9 9 0 0 1 0-18",
  interrupted: "M12 3 22 20H2zm0 4L5.500 18h13zm-1 3.500h2v4h-2zm0 5h2v2h-2z",
  completed: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18m4.300 5.300L10.500 14l-2.800-2.700L6.300 12.700l4.200 4.100 7.200-7.100z",
  failed: "M8.300 3h7.400L21 8.300v7.400L15.700 21H8.300L3 15.700V8.300zm.1 4L7 8.400l3.600 3.600L7 15.600 8.400 17l3.600-3.600 3.600 3.600 1.400-1.400-3.600-3.600L17 8.400 15.600 7 12 10.600z",
  paused: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18m0 2a7 7 0 1 0 0 14 7 7 0 0 0 0-14M9 8h2v8H9zm4 0h2v8h-2z",
  available: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18m0 2a7 7 0 1 0 0 14 7 7 0 0 0 0-14m-1 2h2v5.200l2.300-2.300 1.400 1.400L12 16l-4.700-4.700 1.400-1.400 2.300 2.300z",
  cancelled: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18m0 2a7 7 0 1 0 0 14 7 7 0 0 0 0-14m-4.500 6h9v2h-9z",
}

export function sign(state) {
  const holder = make("span", `sign ${SIGNS[state] ? state : "queued"}`)
  holder.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${SIGNS[state] ?? SIGNS.queued}"/></svg>`
  return holder
}

export function duration(seconds) {
  const whole = Math.floor(seconds)
  if (seconds < 0.05) { return "< 0.1 s" }
  if (seconds < 10) { return `${seconds.toFixed(1)} s` }
  if (whole < 60) { return `${whole} s` }
  if (whole < 3600) { return `${Math.floor(whole / 60)} min ${whole % 60} s` }
  return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`
}

function age(seconds) {
  if (seconds < 5) { return "just now" }
  if (seconds < 60) { return `${Math.floor(seconds)} s ago` }
  if (seconds < 3600) { return `${Math.floor(seconds / 60)} min ago` }
  if (seconds < 86400) { return `${Math.floor(seconds / 3600)} h ago` }
  return `${Math.floor(seconds / 86400)} d ago`
}

export function utc(at) {
  return `${new Date(at * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`
}

// Counts by the server's clock; `tick` writes all times of a host anew, each second.
export function clockOf(model, host) {
  let ahead = 0
  const set = () => { ahead = model.clock ? model.clock - Date.now() / 1000 : 0 }
  const now = () => Date.now() / 1000 + ahead
  const tick = () => {
    for (const element of host.querySelectorAll("[data-since]")) {
      const since = Number(element.dataset.since)
      element.textContent = element.dataset.kind === "age" ? age(now() - since) : duration(now() - since)
    }
  }
  set()
  model.on("clock", set)
  const timer = setInterval(tick, 1000)
  model.on("remove", () => clearInterval(timer))
  return {
    tick,
    age(at) {
      const element = make("time", "", age(now() - at))
      element.dateTime = new Date(at * 1000).toISOString()
      element.title = utc(at)
      Object.assign(element.dataset, {since: at, kind: "age"})
      return element
    },
    took(started, finished) {
      if (started === null) { return make("span") }
      if (finished !== null) { return make("span", "", duration(finished - started)) }
      const element = make("span", "", duration(now() - started))
      Object.assign(element.dataset, {since: started, kind: "took"})
      return element
    },
  }
}

export function bar(done, total, label) {
  const element = make("div", "progress")
  element.setAttribute("role", "progressbar")
  element.setAttribute("aria-label", label)
  element.setAttribute("aria-valuemin", "0")
  element.setAttribute("aria-valuemax", String(total))
  const inner = make("i")
  if (total > 1) {
    element.setAttribute("aria-valuenow", String(done))
    inner.style.width = `${100 * Math.min(1, done / total)}%`
  } else {
    element.classList.add("endless")
  }
  element.append(inner)
  return element
}
