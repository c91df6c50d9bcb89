// './x.js' in a TypeScript source means './x.ts'.
module.exports = (request, options) => {
  const ours = !options.basedir.includes('/node_modules/') || request.startsWith(options.rootDir);
  if (ours && /^[./]/.test(request) && request.endsWith('.js') && !request.includes('/node_modules/')) {
    try {
      return options.defaultResolver(`${request.slice(0, -3)}.ts`, options);
    } catch {
      // It is a real .js file.
    }
  }
  return options.defaultResolver(request, options);
};
