// The address line: every state has its own, a new item is a new page of the browser's history, a moved map is not.

export function render({model}) {
  let {page} = model.place
  const show = () => {
    const {search} = model.place
    if (search !== window.location.search) {
      const address = `${window.location.pathname}${search}${window.location.hash}`
      if (model.place.page === page) {
        window.history.replaceState({}, "", address)
      } else {
        window.history.pushState({}, "", address)
      }
    }
    ({page} = model.place)
  }
  const back = () => { model.send_msg({type: "back", search: window.location.search}) }
  model.on("place", show)
  window.addEventListener("popstate", back)
  model.on("remove", () => window.removeEventListener("popstate", back))
  return document.createElement("span")
}
