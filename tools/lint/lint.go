// Package lint holds the rules of this repository that no compiler checks: which way imports point, how large things
// may grow, what must be explained, what may not be left behind. A rule that only stands in a document is broken by
// the second author; here each is a function from the parsed tree to the places that break it, `go test ./tools/lint`
// runs them all over the repository, and each is shown a sample that breaks it, so that the rule itself can fail.
//
// # The rules
//
//	imports   arrows point down the list of layers (imports.go), some only from where they are allowed
//	size      file ≤ 500 lines, function ≤ 70 (in tests 140), package ≤ 2,000 without its tests (size.go)
//	docs      a package comment that opens with the problem; exported identifiers documented (docs.go)
//	commands  every command reports its version, and package main is thin wiring that returns an exit code (docs.go)
//	text      no promises left in comments, no paths of one machine, no package registries by host name (text.go)
//	skips     a test skips only for want of something on the machine (skips.go)
//
// What exceeds a size today stands in an allow list with its exact size. An entry is an error as soon as the thing has
// changed: it may be lowered or removed, and no review has to remember that it may not be raised.
//
// # Skipped tests and long tests
//
// A skipped test looks like a passed one. So there is one reason to skip, something that the machine lacks, and it is
// named first:
//
//	t.Skip("needs kcat: the interoperability test drives it")
//
// `make test` lists such skips by NAME; .ci/run installs what is needed and fails when any test was skipped all the
// same (tools/lint/gotest does both). A test that would take long is never skipped: it is the same test with a smaller
// count, and the environment variable ACKLINE_NIGHTLY=1 (set by `make nightly`) raises the count:
//
//	seeds := 20
//	if os.Getenv("ACKLINE_NIGHTLY") != "" {
//		seeds = 5000
//	}
//
// A suite with nothing small to run at all (every mutant, say) is a loop over an empty list by day.
//
// The race detector allocates, so a test that counts allocations cannot run under it. It does not skip itself: it has
// Alloc in its name and stands in a file with the constraint //go:build !race. `make test` runs those packages' Alloc
// tests once more without the detector.
package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Module is the module path that import paths in this repository begin with.
const Module = "ackline"

// Problem is one place where a rule is broken.
type Problem struct {
	Where string // file:line, file or import path
	What  string // what is wrong there and what would be right
}

func (p Problem) String() string { return p.Where + ": " + p.What }

// Tree is the parsed repository. Every Go file is in it whatever its build constraints are: go list shows only the
// files of one platform.
type Tree struct {
	Fset     *token.FileSet
	Packages []*Package // by path
	Texts    []Text     // every text file, by name
}

// Package is the Go files of one folder; a folder's external test package (name_test) belongs to it.
type Package struct {
	Path  string // without the module's name: "broker/wal"
	Name  string
	Files []*File
}

// File is one parsed Go file.
type File struct {
	Name      string // slash-separated, from the repository's root
	Test      bool
	Generated bool
	Lines     int
	Syntax    *ast.File
	Imports   []Import
}

// Import is one import declaration.
type Import struct {
	Path string
	Line int
}

// Text is a text file, Go or not.
type Text struct{ Name, Content string }

// textKinds are the extensions of the files that rules about text look at; a file without one (Makefile, .ci/run) is
// looked at too.
var textKinds = []string{"", ".go", ".md", ".toml", ".json", ".sh", ".patch", ".txt", ".yml", ".yaml", ".html", ".mod"}

// Load reads the tree below root, leaving out what git ignores (bin, out) and testdata's Go files, which are samples.
func Load(root string) (*Tree, error) {
	t := &Tree{Fset: token.NewFileSet()}
	packages := map[string]*Package{}
	err := filepath.WalkDir(root, func(full string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if d.IsDir() {
			if name == ".git" || name == "bin" || name == "out" {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || !slices.Contains(textKinds, path.Ext(path.Base(name))) && path.Dir(name) != ".ci" {
			return nil
		}
		content, err := os.ReadFile(full)
		if err != nil {
			return err
		}
		return t.add(packages, name, string(content))
	})
	for _, p := range packages {
		t.Packages = append(t.Packages, p)
	}
	slices.SortFunc(t.Packages, func(a, b *Package) int { return strings.Compare(a.Path, b.Path) })
	return t, err
}

// add files the content under name, and parses it when it is Go source that the go tool would look at.
func (t *Tree) add(packages map[string]*Package, name, content string) error {
	t.Texts = append(t.Texts, Text{name, content})
	if path.Ext(name) != ".go" || strings.Contains("/"+name, "/testdata/") || strings.Contains("/"+name, "/_") {
		return nil
	}
	syntax, err := parser.ParseFile(t.Fset, name, content, parser.ParseComments)
	if err != nil {
		return fmt.Errorf("lint: %w", err)
	}
	f := &File{Name: name, Test: strings.HasSuffix(name, "_test.go"), Generated: ast.IsGenerated(syntax),
		Lines: strings.Count(content, "\n"), Syntax: syntax}
	for _, spec := range syntax.Imports {
		f.Imports = append(f.Imports, Import{strings.Trim(spec.Path.Value, `"`), t.Fset.Position(spec.Pos()).Line})
	}
	dir := path.Dir(name)
	p := packages[dir]
	if p == nil {
		p = &Package{Path: dir}
		packages[dir] = p
	}
	p.Files = append(p.Files, f)
	if p.Name == "" || !f.Test {
		p.Name = strings.TrimSuffix(syntax.Name.Name, "_test")
	}
	return nil
}

// at is the place of a node as a Problem states it.
func (t *Tree) at(n ast.Node) string {
	p := t.Fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}
