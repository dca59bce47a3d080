export const engines = {
  title: "Engines",
  state: "State",
};
