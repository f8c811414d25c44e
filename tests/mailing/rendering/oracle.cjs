// Renders templates with Handlebars.js as SES is documented to: strict, nothing escaped, and a null
// that is printed is an error. Reads one JSON object a line, {"template", "data"}; writes one a
// line: {"output"}, {"error"} if it cannot be rendered, {"syntax"} if it is no template.
//
// Values are written by `escapeExpression` instead of the option noEscape, which would add adjacent
// numbers: {{a}}{{b}} of 1 and 2 would be 3.
const Handlebars = require("handlebars");
const utils = require("handlebars/dist/cjs/handlebars/utils");
const readline = require("readline");

utils.escapeExpression = (value) => {
  if (value === null || value === undefined) throw new Error("a missing or null value is printed");
  return String(value);
};

class Unescaped extends Handlebars.Visitor {
  MustacheStatement(node) {
    node.escaped = true;
    super.MustacheStatement(node);
  }
}

function answer({ template, data }) {
  let render;
  try {
    const tree = Handlebars.parse(template);
    new Unescaped().accept(tree);
    Handlebars.precompile(structuredClone(tree), { strict: true });
    render = Handlebars.compile(tree, { strict: true });
  } catch (error) {
    return { syntax: error.message };
  }
  try {
    return { output: render(data) };
  } catch (error) {
    return { error: error.message };
  }
}

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => process.stdout.write(JSON.stringify(answer(JSON.parse(line))) + "\n"));
