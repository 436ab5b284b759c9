for (const button of document.querySelectorAll('.code button')) button.addEventListener('click', async () => {
  const text = button.parentElement.querySelector('pre').textContent;
  try { await navigator.clipboard.writeText(text); }
  catch { const range = document.createRange(); range.selectNodeContents(button.parentElement.querySelector('pre'));
          const chosen = getSelection(); chosen.removeAllRanges(); chosen.addRange(range);
          document.execCommand('copy'); }
  button.textContent = 'Copied'; setTimeout(() => button.textContent = 'Copy', 1500);
});
