// Package strict decodes TOML into structs and takes nothing that it does not know: a misspelt key that was passed over
// would be a setting that silently is not set. Errors say file, line and the nearest key that exists.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Decode reads text, which came from file, into a pointer to a struct. kind is what the file is, for the error message:
// "broker configuration", "workload".
func Decode(file, kind string, text []byte, into any) error {
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(into)
	var missing *toml.StrictMissingError
	var one *toml.DecodeError
	switch {
	case errors.As(err, &missing):
		var all []error
		for _, e := range missing.Errors {
			all = append(all, unknown(file, kind, e, into))
		}
		return errors.Join(all...)
	case errors.As(err, &one):
		line, column := one.Position()
		return fmt.Errorf("%s:%d:%d: %s", file, line, column, strings.TrimPrefix(one.Error(), "toml: "))
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

func unknown(file, kind string, e toml.DecodeError, into any) error {
	line, _ := e.Position()
	key := e.Key()
	last := key[len(key)-1]
	valid := keysAt(reflect.TypeOf(into).Elem(), key[:len(key)-1])
	return fmt.Errorf("%s:%d: unknown key %q: did you mean %q? (a %s has: %s)", file, line, strings.Join(key, "."),
		Nearest(last, valid), kind, strings.Join(valid, ", "))
}

// keysAt lists the keys of the table that the path leads to; of the root when the path itself is unknown.
func keysAt(t reflect.Type, path []string) []string {
	at := t
	for _, p := range path {
		next, ok := child(at, p)
		if !ok {
			return keysAt(t, nil)
		}
		at = next
	}
	out := fields(at)
	slices.Sort(out)
	return out
}

// fields lists the keys of a struct, and of those that are embedded in it.
func fields(at reflect.Type) (out []string) {
	for i := range at.NumField() {
		if f := at.Field(i); f.Anonymous && f.Type.Kind() == reflect.Struct {
			out = append(out, fields(f.Type)...)
		}
		if tag := at.Field(i).Tag.Get("toml"); tag != "" && tag != "-" {
			out = append(out, tag)
		}
	}
	return out
}

// child returns the struct under a key: a table or the elements of an array of tables.
func child(t reflect.Type, key string) (reflect.Type, bool) {
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("toml") == key {
			at := f.Type
			for at.Kind() == reflect.Slice || at.Kind() == reflect.Pointer {
				at = at.Elem()
			}
			return at, at.Kind() == reflect.Struct
		}
	}
	return nil, false
}

// Nearest returns the candidate with the smallest edit distance to s.
func Nearest(s string, candidates []string) string {
	best, distance := "", 1<<30
	for _, c := range candidates {
		if d := editDistance(s, c); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// editDistance is Levenshtein's: insertions, deletions and replacements of a byte that turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
