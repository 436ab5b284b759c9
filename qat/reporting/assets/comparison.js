for (const table of document.querySelectorAll('table')) {
  const body = table.tBodies[0], lines = [...body.rows];
  const number = text => { const found = text.replace('\u2212', '-').match(/^[+-]?[0-9.]+(e[+-]?[0-9]+)?/i);
                           return found ? parseFloat(found[0]) : NaN; };
  table.tHead.querySelectorAll('th').forEach((title, column) => title.addEventListener('click', () => {
    const falling = title.dataset.order !== 'falling';
    title.dataset.order = falling ? 'falling' : 'rising';
    const key = line => line.cells[column].textContent;
    lines.sort((a, b) => {
      const [x, y] = [key(a), key(b)], [m, n] = [number(x), number(y)];
      if ((x === '') !== (y === '')) return x === '' ? 1 : -1;
      const order = !isNaN(m) && !isNaN(n) ? m - n : x.localeCompare(y, undefined, {numeric: true});
      return falling ? -order : order;
    });
    body.append(...lines);
  }));
  const box = table.parentElement.previousElementSibling;
  if (box && box.tagName === 'INPUT') box.addEventListener('input', () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const line of lines) {
      const text = line.textContent.toLowerCase();
      line.hidden = !words.every(word => text.includes(word));
    }
  });
}
