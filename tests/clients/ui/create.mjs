export async function create() {}
