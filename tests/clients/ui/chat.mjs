export async function chat() {}
