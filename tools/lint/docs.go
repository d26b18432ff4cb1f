package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// shortestComment is the least text, in bytes, in which a package comment can name the problem that the package
// solves; "Package wal implements the WAL." has 31.
const shortestComment = 80

// wellKnown are methods whose name says everything, because a standard interface defines it.
var wellKnown = []string{"String", "Error", "Unwrap", "Is", "As", "Len", "Less", "Swap", "MarshalJSON", "UnmarshalJSON",
	"MarshalText", "UnmarshalText", "MarshalBinary", "UnmarshalBinary", "LogValue", "Format"}

// Docs checks that packages and exported identifiers are explained.
func Docs(t *Tree) []Problem {
	var out []Problem
	for _, p := range t.Packages {
		out = append(out, packageComment(p)...)
		if p.Name == "main" {
			out = append(out, command(t, p)...)
			continue
		}
		promised := interfaceMethods(p)
		for _, f := range p.Files {
			if f.Test || f.Generated {
				continue
			}
			for _, d := range f.Syntax.Decls {
				out = append(out, undocumented(t, d, promised)...)
			}
		}
	}
	return out
}

// packageComment wants exactly one comment, in a test file only where there is nothing else.
func packageComment(p *Package) []Problem {
	opening := "Package " + p.Name + " "
	if p.Name == "main" {
		opening = "Command " + p.Path[strings.LastIndexByte(p.Path, '/')+1:] + " "
	}
	testsOnly := !slices.ContainsFunc(p.Files, func(f *File) bool { return !f.Test })
	var found []*File
	for _, f := range p.Files {
		if f.Syntax.Doc == nil || f.Test && !testsOnly || f.Test && !strings.HasPrefix(f.Syntax.Doc.Text(), opening) {
			continue
		}
		found = append(found, f)
		text := f.Syntax.Doc.Text()
		if !strings.HasPrefix(text, opening) {
			return []Problem{{f.Name, fmt.Sprintf("the package comment begins %.40q, want %q", text, opening+"…")}}
		}
		if len(text) < shortestComment {
			return []Problem{{f.Name, fmt.Sprintf("the package comment %q is too short to open with the problem that the "+
				"package solves", strings.TrimSpace(text))}}
		}
	}
	switch len(found) {
	case 0:
		return []Problem{{p.Path, fmt.Sprintf("has no package comment: write one that begins %q and opens with the problem", opening+"…")}}
	case 1:
		return nil
	}
	return []Problem{{p.Path, fmt.Sprintf("has package comments in %s and %s: keep one", found[0].Name, found[1].Name)}}
}

// command wants of package main that it knows its version and can be run by a test.
func command(t *Tree, p *Package) []Problem {
	var out []Problem
	version := false
	for _, f := range p.Files {
		if f.Test {
			continue
		}
		for _, i := range f.Imports {
			version = version || i.Path == Module+"/tools/version"
		}
		for _, d := range f.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Name.Name != "main" || fn.Recv != nil {
				continue
			}
			calls := false
			ast.Inspect(fn, func(n ast.Node) bool {
				id, ok := n.(*ast.Ident)
				calls = calls || ok && id.Name == "run"
				return true
			})
			if lines := t.Fset.Position(fn.End()).Line - t.Fset.Position(fn.Pos()).Line + 1; !calls || lines > 12 {
				out = append(out, Problem{t.at(fn), "main is not thin: want os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr)), and a test of run"})
			}
		}
	}
	if !version {
		out = append(out, Problem{p.Path, "a command without --version: import " + Module + "/tools/version and print version.String()"})
	}
	return out
}

// interfaceMethods are the names of methods that an interface of the package declares and so explains once for all who
// satisfy it.
func interfaceMethods(p *Package) []string {
	var out []string
	for _, f := range p.Files {
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			if i, ok := n.(*ast.InterfaceType); ok {
				for _, m := range i.Methods.List {
					for _, name := range m.Names {
						out = append(out, name.Name)
					}
				}
			}
			return true
		})
	}
	return out
}

// undocumented lists the exported identifiers of a declaration that no comment explains. In a group of constants or
// variables the group's comment counts for all.
func undocumented(t *Tree, d ast.Decl, promised []string) []Problem {
	var out []Problem
	missing := func(n ast.Node, name string) {
		out = append(out, Problem{t.at(n), "exported " + name + " has no comment: say what it is for, its units and its errors"})
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc != nil || !d.Name.IsExported() {
			break
		}
		if d.Recv != nil {
			name := functionName(d)
			base := strings.TrimLeft(name, "(*")
			if !ast.IsExported(base) || slices.Contains(wellKnown, d.Name.Name) || slices.Contains(promised, d.Name.Name) {
				break
			}
		}
		missing(d, functionName(d))
	case *ast.GenDecl:
		if d.Tok == token.IMPORT {
			break
		}
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
					missing(s, s.Name.Name)
				}
			case *ast.ValueSpec:
				if s.Doc != nil || s.Comment != nil || d.Doc != nil {
					continue
				}
				for _, name := range s.Names {
					if name.IsExported() {
						missing(name, name.Name)
					}
				}
			}
		}
	}
	return out
}
