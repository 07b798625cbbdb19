"""What the tests ask of every page that a person reads in a browser."""

from playwright.sync_api import Page

WIDTHS = {"desk": 1280, "phone": 390}

# What a person with weak eyes would stumble over: text that is small, or too like what it stands on.
HARD_TO_READ = """() => {
  const rgba = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a] }
  const over = ([r, g, b, a], under) => [r, g, b].map((part, at) => part * a + under[at] * (1 - a))
  const light = rgb => rgb.map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0)
  const dark = matchMedia("(prefers-color-scheme: dark)").matches
  const found = []
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter(node => node.nodeType === 3 && node.textContent.trim())
    if (!text.length || ["STYLE", "SCRIPT"].includes(element.tagName) || !element.getClientRects().length) continue
    const style = getComputedStyle(element), line = [element]
    while (line[0].parentElement) line.unshift(line[0].parentElement)
    let ground = dark ? [18, 18, 18] : [255, 255, 255], opacity = 1
    for (const each of line) {
      ground = over(rgba(getComputedStyle(each).backgroundColor), ground)
      opacity *= Number(getComputedStyle(each).opacity)
    }
    const [r, g, b, a] = rgba(style.color)
    const [low, high] = [light(over([r, g, b, a * opacity], ground)), light(ground)].sort((one, two) => one - two)
    const contrast = (high + 0.05) / (low + 0.05), size = parseFloat(style.fontSize)
    if (size < 14 || contrast < 4.5)
      found.push(`${element.tagName} ${text[0].textContent.trim()}: ${size}px, contrast ${contrast.toFixed(1)}`)
  }
  return found
}"""


def fits(page: Page) -> bool:
    """Whether nobody has to scroll sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))
