export const engines = {
  title: "Engines",
};
