// Package reference writes profiles/README.md, the list of everything that can be set: on a broker, and in the profiles of a bench.
//
// The problem: a page of settings that is kept by hand lacks the newest key and tells the oldest default. The structs that decode the files
// say what each key is, in their comments, and code fills in the defaults; so the page is made of both. What no code knows is when somebody
// would change a key. That stands here (advice.go), and a test fails when a key has none, or when advice is left of one that is gone.
package reference

//go:generate go run ./generate ../..

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Key is one setting.
type Key struct {
	Name    string // with its tables: "wal.ring_bytes"
	Unit    string
	Default string
	Means   string
	Advice  string // when to change it
}

// Section is the keys of one table of a file.
type Section struct {
	Title string
	About string
	Keys  []Key
}

// source says where the struct of a table is, and a value of it with all defaults.
type source struct {
	title, about string
	dir, name    string // folder and name of the struct
	prefix       string // of its keys, with the dot
	defaults     any
}

// Sections reads the structs of the tree at root.
func Sections(root string) ([]Section, error) {
	var out []Section
	for _, s := range sources() {
		docs, err := comments(filepath.Join(root, s.dir), s.name)
		if err != nil {
			return nil, err
		}
		out = append(out, Section{s.title, s.about, s.keys(docs)})
	}
	return out, nil
}

// keys lists the fields with a key, in their order; tables of their own are sections of their own.
func (s source) keys(docs map[string]string) (list []Key) {
	v := reflect.ValueOf(s.defaults)
	names := map[string]string{} // Go's to the file's
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag.Get("toml"); tag != "-" {
			names[v.Type().Field(i).Name] = tag
		}
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag := f.Tag.Get("toml")
		scalar := f.Type.Kind() != reflect.Struct && !(f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct)
		if tag == "-" || tag == "" || !scalar {
			continue
		}
		key := s.prefix + tag
		means := strings.TrimPrefix(translate(docs[f.Name], names), "`"+tag+"` is ")
		list = append(list, Key{key, unit(tag, f.Type), value(v.Field(i)), means, advice[key]})
	}
	return list
}

// translate replaces the names of fields by their keys.
func translate(text string, names map[string]string) string {
	return word.ReplaceAllStringFunc(text, func(w string) string {
		if key, ok := names[w]; ok {
			return "`" + key + "`"
		}
		return w
	})
}

var word = regexp.MustCompile(`\b[A-Z]\w+\b`)

// value is a default as it would stand in the file.
func value(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.String && v.Len() == 0, v.Kind() == reflect.Slice && v.Len() == 0:
		return "–"
	case v.Kind() == reflect.String:
		return "`" + fmt.Sprintf("%q", v.String()) + "`"
	case v.Kind() == reflect.Slice:
		return "`" + strings.ReplaceAll(fmt.Sprintf("%q", v.Interface()), " ", ", ") + "`"
	}
	return fmt.Sprintf("`%v`", v.Interface())
}

// units are the ends of keys, the longest that fits deciding, and what they mean.
var units = []struct{ end, unit string }{
	{"_bytes_per_s", "bytes/s"}, {"_per_second", "1/s"}, {"_percent", "%"}, {"_bytes", "bytes"}, {"_addr", "host:port"}, {"_file", "path"}, {"_dir", "path"},
	{"_us", "µs"}, {"_ms", "ms"}, {"_s", "s"},
}

func unit(key string, t reflect.Type) string {
	for _, u := range units {
		if strings.HasSuffix(key, u.end) {
			return u.unit
		}
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Slice:
		return "list of text"
	}
	return "number"
}

// comments are what stands at the fields of a struct, by their names. A field without a comment of its own has that of the one before which
// names it.
func comments(dir, name string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range syntax.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				if t, ok := spec.(*ast.TypeSpec); ok && t.Name.Name == name {
					if fields, ok := t.Type.(*ast.StructType); ok {
						return fieldComments(fields), nil
					}
				}
			}
		}
	}
	return nil, fmt.Errorf("reference: no struct %s in %s", name, dir)
}

func fieldComments(s *ast.StructType) map[string]string {
	out, before := map[string]string{}, ""
	for _, f := range s.Fields.List {
		text := strings.TrimSpace(oneLine(f.Doc.Text()) + " " + oneLine(f.Comment.Text()))
		for _, n := range f.Names {
			switch {
			case text != "":
				out[n.Name] = text
			case slices.Contains(word.FindAllString(before, -1), n.Name):
				out[n.Name] = before
			}
		}
		if text != "" {
			before = text
		}
	}
	return out
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
