/** The columns with which images of this ratio are largest in a place of the other ratio. */
export function columnsFor(count: number, imageRatio: number, placeRatio: number): number {
  let best = { columns: 1, width: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const width = Math.min(placeRatio / columns, imageRatio / rows);
    // Almost as large with fewer columns looks calmer.
    if (width > best.width * 1.001) best = { columns, width };
  }
  return best.columns;
}
