// Programs to copy: a row of names, the chosen one below, and a button that copies it.

export function render({model}) {
  const box = document.createElement("div")
  const tabs = document.createElement("div")
  const copy = document.createElement("button")
  const text = document.createElement("pre")
  const code = document.createElement("code")
  box.className = "box"
  tabs.className = "tabs"
  tabs.setAttribute("role", "group")
  tabs.setAttribute("aria-label", "Language")
  copy.type = "button"
  copy.className = "copy"
  text.tabIndex = 0
  text.append(code)
  box.append(tabs, text, copy)

  const draw = () => {
    const names = Object.keys(model.programs)
    const chosen = names.includes(model.chosen) ? model.chosen : names[0]
    tabs.replaceChildren(...names.map((name) => {
      const tab = document.createElement("button")
      tab.type = "button"
      tab.textContent = name
      tab.setAttribute("aria-pressed", String(name === chosen))
      tab.addEventListener("click", () => {
        model.chosen = name
        draw()
        tabs.querySelector("[aria-pressed=true]").focus()
      })
      return tab
    }))
    code.textContent = model.programs[chosen] ?? ""
    copy.textContent = "Copy"
  }
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent)
      copy.textContent = "Copied"
    } catch {
      // Without a secure origin the browser gives no clipboard: mark the text, so that the usual keys copy it.
      const range = document.createRange()
      range.selectNodeContents(code)
      getSelection().removeAllRanges()
      getSelection().addRange(range)
      copy.textContent = "Press Ctrl+C"
    }
    setTimeout(() => { copy.textContent = "Copy" }, 2000)
  })
  model.on(["programs", "chosen"], draw)
  draw()
  return box
}
