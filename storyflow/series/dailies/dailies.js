function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
}

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  let said = "Copied";
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    // A browser may forbid that for files: the text is marked instead.
    getSelection().selectAllChildren(code);
    said = "Marked";
  }
  button.textContent = said;
  document.getElementById("told").textContent = said;
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

document.getElementById("theme").addEventListener("click", theme);
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", () => copy(button));
}
addEventListener("keydown", (event) => {
  const typing = event.ctrlKey || event.metaKey || event.altKey;
  if (event.key === "t" && !typing) theme();
});
