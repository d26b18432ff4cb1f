package lint

import (
	"fmt"
	"slices"
	"strings"
)

// layers is the import table, the lowest layer first. A package may import packages of lower layers only; packages of
// one layer know nothing of each other. "x/..." stands for x and everything below it, whose packages may import each
// other as they like; the longest entry that fits a path decides.
var layers = [][]string{
	// The map of the write path, and what everything else passes around. No code that does anything.
	{"broker", "broker/id", "broker/crc", "broker/metric/histogram", "tools/version", "profiles/strict"},
	// Bytes, clocks, counters and files, each ignorant of what it is used for.
	{"broker/kwire", "broker/stage", "broker/metric", "broker/vfs/...", "broker/testaddr", "tools/stats", "tools/hostinfo/..."},
	{"broker/syncmethod", "broker/statemachine/...", "broker/httpapi", "broker/testline"},
	// Storage and state machines: passive, stepped by a caller.
	{"broker/wal/...", "broker/seglog/...", "broker/meta/...", "broker/transport/..."},
	// A group's log, in whose form entries are stored.
	{"broker/replica/raftlog/..."},
	{"broker/replica/...", "broker/partition/...", "broker/coordinator/...", "broker/server/..."},
	// Many groups, and the links between them.
	{"broker/engine/..."},
	{"broker/api/..."},
	// The only place that sees both sides of every interface.
	{"broker/node/..."},
	{"broker/cmd/broker", "broker/sim/...", "broker/mutants", "broker/clustertest", "broker/metric/cost"},
	// What measures from outside.
	{"profiles/..."},
	{"loadgen/..."},
	{"tools/floor/...", "tools/bench/record", "tools/netlab/...", "tools/waldump/...", "tools/peers/...", "walbench/..."},
	{"tools/report/...", "dashboards/..."},
	{"tools/compare/...", "tools/trend"},
	{"tools/bench/...", "tools/tune/...", "tools/reference/...", "tools/plant"},
	{"tools/lint/..."},
}

// only lists packages that may import nothing of this module but what stands here, and the rest of their own tree: the
// cores that must stay passive, for which "something lower" is too much freedom.
var only = map[string][]string{
	"broker/id":               {},
	"broker/vfs/...":          {},
	"broker/kwire":            {"broker/id", "broker/crc"},
	"broker/stage":            {"broker/metric/histogram"},
	"broker/syncmethod":       {"broker/vfs"},
	"broker/statemachine/...": {"broker/id"},
	"broker/wal/...":          {"broker/id", "broker/crc", "broker/vfs", "broker/syncmethod", "broker/metric/histogram"},
	"broker/seglog/...":       {"broker/id", "broker/vfs"},
	"broker/transport/...":    {"broker/id"},
	"broker/meta/...":         {"broker/id", "broker/statemachine"},
	// The parts of a raft group, each ignorant of the group and of the other parts but the log.
	"broker/replica/raftlog/...": {"broker/id", "broker/wal"},
	"broker/replica/proposals":   {"broker/id"},
	"broker/replica/peers":       {"broker/id"},
	"broker/replica/candidacy":   {"broker/id"},
	"broker/replica/membership":  {"broker/id"},
	"broker/replica/readindex":   {},
	"broker/replica/settings":    {},
	"broker/replica/catchup":     {"broker/id"},
	"broker/replica/quietword":   {"broker/id"},
	"broker/replica/stores":      {"broker/id", "broker/wal", "broker/replica/raftlog"},
	"broker/cmd/broker":          {"broker/id", "broker/node", "broker/node/admin", "broker/node/config", "tools/version"},
	"tools/stats":                {},
	"tools/netlab/line":          {},
	"tools/netlab/advise":        {"profiles/region"},
	"broker/engine/...": {"broker/id", "broker/replica", "broker/replica/membership", "broker/replica/raftlog", "broker/transport", "broker/transport/detect",
		"broker/transport/frame", "broker/transport/link", "broker/wal"},
}

// forbid are arrows that may not exist even through other packages, tests included.
var forbid = []struct {
	from, to []string
	except   []string
	why      string
}{
	{from: []string{"loadgen/..."}, to: []string{"broker/...", "broker"},
		why: "a bug shared by the broker's encoder and the generator's decoder would cancel out; loadgen has its own frames"},
	{from: []string{"profiles/..."}, to: []string{"broker/...", "broker"},
		why: "a profile is data that a live cluster of another make can be measured with"},
	{from: []string{"broker/...", "broker"}, to: []string{"tools/...", "walbench/...", "loadgen/...", "profiles/..."},
		except: []string{"tools/version", "profiles/strict"},
		why:    "the product does not depend on what measures it"},
	{from: []string{"tools/floor/..."}, to: []string{"broker/wal/...", "broker/replica/...", "broker/node/..."},
		why: "the floor is the least that any program could do; sharing the path that it judges would hide that path's faults"},
	{from: []string{"tools/netlab/..."}, to: []string{"broker/...", "broker"},
		why: "an emulated network takes any system as it is, and knows none"},
}

// external says who may import a module from outside, by its prefix; nobody else may, directly. Tests are free.
var external = []struct {
	prefix string
	by     []string
	why    string
}{
	{"go.etcd.io/raft", []string{"broker/replica/...", "broker/transport/...", "broker/engine/...", "broker/sim"},
		"etcd-raft's types stay inside replica, transport and engine, which passes messages between them, so that the rest can be stepped and simulated without it"},
	{"github.com/valyala/fasthttp", []string{"broker/httpapi"}, "HTTP has one door: broker/httpapi"},
	{"github.com/prometheus/", []string{"broker/metric", "broker/httpapi", "loadgen/metric"},
		"hot counters are plain atomics of broker/metric, read when they are scraped"},
	{"github.com/twmb/franz-go/pkg/kgo", []string{"loadgen/...", "tools/...", "walbench/..."},
		"the broker serves Kafka clients and contains none"},
	{"charm.land/", []string{"loadgen/view"}, "a terminal is drawn in one place, away from what is measured"},
}

// fits tells whether pattern covers the package path, and how specifically.
func fits(pattern, pkg string) (bool, int) {
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == tree || strings.HasPrefix(pkg, tree+"/"), 2 * len(tree)
	}
	return pattern == pkg, 2*len(pattern) + 1
}

func fitsAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := fits(p, pkg); return ok })
}

// layerOf returns the layer and entry that decide about pkg; -1 when there is none.
func layerOf(pkg string) (layer int, entry string) {
	layer, best := -1, -1
	for i, l := range layers {
		for _, pattern := range l {
			if ok, weight := fits(pattern, pkg); ok && weight > best {
				layer, entry, best = i, pattern, weight
			}
		}
	}
	return layer, entry
}

// local returns the package path within this module that an import names.
func local(imported string) (string, bool) { return strings.CutPrefix(imported, Module+"/") }

// Imports checks the import table.
func Imports(t *Tree) []Problem {
	var out []Problem
	graph := map[string][]string{}
	for _, p := range t.Packages {
		if layer, _ := layerOf(p.Path); layer < 0 && p.Path != "." {
			out = append(out, Problem{p.Path, "is in no layer: add it to layers in tools/lint/imports.go, above everything that it imports"})
			continue
		}
		for _, f := range p.Files {
			for _, i := range f.Imports {
				where := fmt.Sprintf("%s:%d", f.Name, i.Line)
				if to, ok := local(i.Path); ok {
					graph[p.Path] = append(graph[p.Path], to)
					if what := arrow(p.Path, to); what != "" && !f.Test {
						out = append(out, Problem{where, what})
					}
				} else if what := outside(p.Path, i.Path); what != "" && !f.Test {
					out = append(out, Problem{where, what})
				}
			}
		}
	}
	return append(out, forbidden(t, graph)...)
}

// arrow says what is wrong with from importing to, or "".
func arrow(from, to string) string {
	for pattern, allowed := range only {
		mine, _ := fits(pattern, from)
		if inside, _ := fits(pattern, to); mine && !inside && !slices.Contains(allowed, to) {
			return fmt.Sprintf("%s imports %s, but may import only %v of this module and what is below %s: let the caller pass "+
				"in what is needed", from, to, allowed, strings.TrimSuffix(pattern, "/..."))
		}
	}
	lf, ef := layerOf(from)
	lt, et := layerOf(to)
	switch {
	case lt < 0 || lt < lf || ef == et && strings.HasSuffix(ef, "/..."):
		return "" // a package in no layer is reported as such
	case lt == lf:
		return fmt.Sprintf("%s imports %s of the same layer: declare the interface in %s and let a higher package connect them",
			from, to, from)
	}
	return fmt.Sprintf("%s imports %s, an arrow that points up (layer %d to %d in tools/lint/imports.go): declare the "+
		"interface in %s and let %s satisfy it", from, to, lf, lt, from, to)
}

func outside(from, imported string) string {
	for _, e := range external {
		if strings.HasPrefix(imported, e.prefix) && !fitsAny(e.by, from) {
			return fmt.Sprintf("%s imports %s, which only %s may: %s", from, imported, strings.Join(e.by, ", "), e.why)
		}
	}
	return ""
}

// forbidden follows every chain of imports from the packages named in forbid. Tests begin a chain but are not part of
// one: importing a package does not import its tests.
func forbidden(t *Tree, graph map[string][]string) []Problem {
	product := map[string][]string{}
	for _, p := range t.Packages {
		for _, f := range p.Files {
			for _, i := range f.Imports {
				if to, ok := local(i.Path); ok && !f.Test {
					product[p.Path] = append(product[p.Path], to)
				}
			}
		}
	}
	var out []Problem
	for _, rule := range forbid {
		for _, p := range t.Packages {
			if !fitsAny(rule.from, p.Path) {
				continue
			}
			bad := func(to string) bool { return fitsAny(rule.to, to) && !fitsAny(rule.except, to) }
			if chain := reach(p.Path, graph[p.Path], product, bad); chain != nil {
				out = append(out, Problem{p.Path, fmt.Sprintf("%s is forbidden: %s", strings.Join(chain, " -> "), rule.why)})
			}
		}
	}
	return out
}

// reach finds the shortest chain of imports that ends in a bad package.
func reach(from string, first []string, graph map[string][]string, bad func(string) bool) []string {
	came := map[string]string{}
	queue := []string{}
	visit := func(at string, to []string) {
		for _, n := range to {
			if _, seen := came[n]; !seen && n != from {
				came[n] = at
				queue = append(queue, n)
			}
		}
	}
	for visit(from, first); len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if bad(at) {
			chain := []string{at}
			for at != from {
				at = came[at]
				chain = append(chain, at)
			}
			slices.Reverse(chain)
			return chain
		}
		visit(at, graph[at])
	}
	return nil
}
