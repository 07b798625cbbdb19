for (const form of document.forms)
  form.onsubmit = async event => {
    event.preventDefault()
    const {method, path} = form.dataset
    const headers = {"content-type": "application/json"}
    const sent = method === "POST" ? {method, headers, body: form.elements.body.value} : {}
    const said = form.querySelector("pre")
    try {
      const answer = await fetch(path.slice(1), sent)
      const text = await answer.text()
      let shown = text
      try { shown = JSON.stringify(JSON.parse(text), null, 2) } catch {}
      said.textContent = answer.status + " " + answer.statusText + "\n" + shown
    } catch (error) { said.textContent = error }
    said.hidden = false
  }
