// A column's button sorts the table by it; numbers by value, texts by letters, empty cells last.
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0];
    const column = head.cellIndex, down = head.getAttribute("aria-sort") === "ascending";
    const value = (row) => {
      const cell = row.cells[column];
      const by = cell.dataset.v ?? cell.textContent;
      return cell.dataset.v ? parseFloat(by) : by;
    };
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
      return down ? -order : order;
    });
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  });
}
// What is not to be seen of a table is said.
function hint() {
  for (const said of document.querySelectorAll(".hint")) {
    const table = said.nextElementSibling, scrolls = table.scrollWidth > table.clientWidth;
    said.classList.toggle("scrolls", scrolls);
    said.textContent = (scrolls ? "\u2194 Scrolls sideways. " : "") + "A column's head sorts.";
  }
}
addEventListener("resize", hint);
for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", hint);
hint();
// Heads of columns of numbers stand where the numbers do.
for (const table of document.querySelectorAll("table")) {
  for (const head of table.tHead ? table.tHead.rows[0].cells : []) {
    const cells = [...table.tBodies[0].rows].map((row) => row.cells[head.cellIndex]);
    if (cells.some((cell) => cell.classList.contains("n"))) head.classList.add("n");
  }
}
// On paper the answer is on the first sheet: the words, which are open there, come last.
const words = document.querySelector(".words"), header = words.parentNode;
addEventListener("beforeprint", () => document.querySelector("main").append(words));
addEventListener("afterprint", () => header.append(words));
