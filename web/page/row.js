/** A row of three cells that is filled again and again. @param {string} className */
export function blankRow(className) {
  const row = document.createElement("div");
  row.className = className;
  row.setAttribute("role", "row");
  for (let i = 0; i < 3; i++) {
    const cell = document.createElement("span");
    cell.setAttribute("role", "cell");
    row.append(cell);
  }
  return row;
}
