package lint

import (
	"fmt"
	"go/ast"
)

// The limits on size, in lines with their comments and blank ones. They are what a reader can hold in mind: a function
// on one screen, a file in one sitting, a package in one afternoon. A test's function may be twice as long, because a
// table of cases is one thing however many cases it has.
const (
	FileLines         = 500
	FunctionLines     = 70
	TestFunctionLines = 140
	PackageLines      = 2000 // without tests
)

// excess is what is larger than its limit today, with its exact size: "broker/wal/wal.go" for a file,
// "broker/wal.(*WAL).Drive" for a function, "broker/wal" for a package. Entries may be lowered and removed, never
// raised or added: cut the thing in two instead.
var excess = map[string]int{}

// Size checks that nothing outgrew its limit and that the allow list holds nothing that has shrunk.
func Size(t *Tree) []Problem { return size(t, excess) }

func size(t *Tree, allowed map[string]int) []Problem {
	var out []Problem
	used := map[string]bool{}
	check := func(where, key, kind string, lines, limit int, cure string) {
		allow, listed := allowed[key]
		used[key] = used[key] || listed && lines > limit
		switch {
		case lines <= limit || listed && lines == allow:
		case listed && lines < allow:
			out = append(out, Problem{where, fmt.Sprintf("%s has shrunk to %d lines: lower its entry in excess "+
				"(tools/lint/size.go) from %d, so that it cannot grow again", kind, lines, allow)})
		case listed:
			out = append(out, Problem{where, fmt.Sprintf("%s has grown to %d lines from the %d that were allowed: %s",
				kind, lines, allow, cure)})
		default:
			out = append(out, Problem{where, fmt.Sprintf("%s has %d lines, more than %d: %s", kind, lines, limit, cure)})
		}
	}
	for _, p := range t.Packages {
		total := 0
		for _, f := range p.Files {
			if f.Generated {
				continue
			}
			if !f.Test {
				total += f.Lines
			}
			check(f.Name, f.Name, "file", f.Lines, FileLines, "cut it where it does two things")
			for _, d := range f.Syntax.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok {
					limit := FunctionLines
					if f.Test {
						limit = TestFunctionLines
					}
					lines := t.Fset.Position(fn.End()).Line - t.Fset.Position(fn.Pos()).Line + 1
					check(t.at(fn), p.Path+"."+functionName(fn), "function "+functionName(fn), lines, limit,
						"give its parts names")
				}
			}
		}
		check(p.Path, p.Path, "package", total, PackageLines, "find the second noun in it and give that its own package")
	}
	for key := range allowed {
		if !used[key] {
			out = append(out, Problem{key, "stands in excess (tools/lint/size.go) but is gone or within its limit: remove the entry"})
		}
	}
	return out
}

// functionName is a function's name as go doc writes it: "Open", "(*WAL).Drive".
func functionName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	star, typ := "", fn.Recv.List[0].Type
	if s, ok := typ.(*ast.StarExpr); ok {
		star, typ = "*", s.X
	}
	switch g := typ.(type) { // a generic type's receiver carries its parameters
	case *ast.IndexExpr:
		typ = g.X
	case *ast.IndexListExpr:
		typ = g.X
	}
	name := "?"
	if id, ok := typ.(*ast.Ident); ok {
		name = id.Name
	}
	return "(" + star + name + ")." + fn.Name.Name
}
