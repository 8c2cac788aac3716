// Pictures as buttons: a click, Enter or Space on one sends its id to Python.
function render({ model, el }) {
  const shown = []; // of each picture: its button, image and caption

  el.classList.add("agman-pictures");
  el.setAttribute("role", "group");
  el.dataset.lmSuppressShortcuts = "true"; // a key pressed in here is no command to JupyterLab

  function add() {
    const button = document.createElement("button");
    const image = document.createElement("img");
    const caption = document.createElement("span");
    button.type = "button";
    button.append(image, caption);
    button.addEventListener("click", () => {
      button.classList.add("agman-waiting"); // at once; Python says when it is done
      model.send({ chosen: button.dataset.id });
    });
    shown.push({ button, image, caption });
    el.append(button);
  }

  function remove() {
    const { button, image } = shown.pop();
    if (button === document.activeElement) shown.at(-1)?.button.focus();
    button.remove();
    URL.revokeObjectURL(image.src);
  }

  function draw() {
    const cells = model.get("cells");
    while (shown.length < cells.length) add();
    while (shown.length > cells.length) remove();
    cells.forEach(({ id, label, caption, right, picture }, n) => {
      const cell = shown[n]; // used again, so that it keeps the keyboard's focus
      cell.button.dataset.id = id;
      cell.button.title = label;
      cell.button.setAttribute("aria-label", label);
      cell.caption.textContent = caption;
      cell.caption.className = right === null ? "" : right ? "agman-right" : "agman-wrong";
      const before = cell.image.src;
      cell.image.alt = label;
      cell.image.src = URL.createObjectURL(new Blob([picture]));
      if (before) cell.image.onload = () => URL.revokeObjectURL(before);
    });
    select();
  }

  function select() {
    const selected = model.get("selected");
    for (const { button } of shown) {
      if (selected === null) button.removeAttribute("aria-pressed");
      else button.setAttribute("aria-pressed", String(button.dataset.id === selected));
    }
  }

  function arrange() {
    el.setAttribute("aria-label", model.get("label"));
    el.classList.toggle("agman-line", model.get("line"));
    el.style.setProperty("--agman-side", `${model.get("side")}px`);
  }

  function done(message) {
    if (!message.done) return;
    for (const { button } of shown) button.classList.remove("agman-waiting");
  }

  el.addEventListener("keydown", (event) => {
    const at = shown.findIndex(({ button }) => button === document.activeElement);
    const last = shown.length - 1;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    shown[Math.min(Math.max(to, 0), last)].button.focus();
  });

  const listening = [
    ["change:cells", draw],
    ["change:selected", select],
    ["change:label", arrange],
    ["change:line", arrange],
    ["change:side", arrange],
    ["msg:custom", done],
  ];
  for (const [name, callback] of listening) model.on(name, callback);
  arrange();
  draw();
  return () => {
    for (const [name, callback] of listening) model.off(name, callback);
    while (shown.length) remove();
  };
}

export default { render };
