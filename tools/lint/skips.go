package lint

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// skipReason is how a skipped test begins its message: what the machine lacks.
var skipReason = regexp.MustCompile(`^needs [^:\s][^:]*: `)

// Skips checks that every skip in a test says what the machine lacks, so that CI can tell want of a tool from want of
// time. It sees calls on the customary names t, b, f and tb.
func Skips(t *Tree) []Problem {
	var out []Problem
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if !f.Test {
				continue
			}
			out = append(out, unseen(t, f)...)
			ast.Inspect(f.Syntax, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && isSkip(call) && !named(call) {
					out = append(out, Problem{t.at(call), `a skip that does not say what the machine lacks: want ` +
						`t.Skip("needs NAME: what for"); a long test runs a smaller count unless ACKLINE_NIGHTLY is set`})
				}
				return true
			})
		}
	}
	return out
}

// unseen lists the tests of a file for builds without the race detector that `make test` would never run: its second
// pass, the one without the detector, takes only those about allocations.
func unseen(t *Tree, f *File) []Problem {
	var out []Problem
	if !slices.ContainsFunc(f.Syntax.Comments, func(g *ast.CommentGroup) bool {
		return g.Pos() < f.Syntax.Package && slices.ContainsFunc(g.List, func(c *ast.Comment) bool { return c.Text == "//go:build !race" })
	}) {
		return nil
	}
	for _, d := range f.Syntax.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Test") && !strings.Contains(fn.Name.Name, "Alloc") {
			out = append(out, Problem{t.at(fn), fn.Name.Name + " is never run: make test runs without the race detector only tests " +
				"with Alloc in their name; move it to a file without //go:build !race"})
		}
	}
	return out
}

func isSkip(call *ast.CallExpr) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
		return false
	}
	on, ok := sel.X.(*ast.Ident)
	return ok && slices.Contains([]string{"t", "b", "f", "tb"}, on.Name)
}

// named tells whether the first argument is text that begins as skipReason wants. Of a sum only the first part is
// known; "needs " + name must do.
func named(call *ast.CallExpr) bool {
	if len(call.Args) == 0 {
		return false
	}
	arg, sum := call.Args[0], false
	for {
		b, ok := arg.(*ast.BinaryExpr)
		if !ok || b.Op != token.ADD {
			break
		}
		arg, sum = b.X, true
	}
	lit, ok := arg.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return false
	}
	text, err := strconv.Unquote(lit.Value)
	return err == nil && (skipReason.MatchString(text) || sum && strings.HasPrefix(text, "needs "))
}
