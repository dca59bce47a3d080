export function Aside() {
  return null;
}
