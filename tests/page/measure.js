"use strict";
// Finds elements that are wider than their parent or lie outside the viewport. A test loads it into the page, which is in
// a frame, and reads the result from the element `measured` of the outer document: viewport width and colour scheme, then
// one problem per line.
setTimeout(() => {
  const name = (element) => element.tagName.toLowerCase() + (element.id && "#" + element.id)
    + [...element.classList].map((kind) => "." + kind).join("");
  const parentOf = (element) => {
    let parent = element.parentElement;
    while (getComputedStyle(parent).display === "contents") parent = parent.parentElement;
    return parent;
  };
  const problems = [], width = document.documentElement.clientWidth;
  let count = 0;
  for (const element of document.body.querySelectorAll("*")) {
    // The contents of an SVG are clipped by it. Text for screen readers is one pixel wide on purpose.
    if (element.ownerSVGElement || element.matches(".hidden") || !element.checkVisibility()) continue;
    const box = element.getBoundingClientRect(), parent = parentOf(element), around = parent.getBoundingClientRect();
    if (box.width === 0) continue;
    count++;
    if (box.left < around.left - 1 || box.right > around.right + 1) {
      problems.push(`${name(element)} is wider than ${name(parent)}`);
    }
    if (box.left < -1 || box.right > width + 1) problems.push(`${name(element)} lies outside the viewport`);
    const clips = getComputedStyle(element).overflowX !== "visible";
    if (!clips && element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1) {
      problems.push(`${name(element)} is narrower than its contents`);
    }
  }
  if (document.documentElement.scrollWidth > width) problems.push("the page scrolls sideways");
  const scheme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const result = top.document.createElement("pre");
  result.id = "measured";
  result.textContent = [`${innerWidth} ${scheme}, ${count > 100 ? "many" : count} elements`, ...problems].join("\n");
  top.document.body.append(result);
}, 2800);
