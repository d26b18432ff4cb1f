package dashboards

import (
	"regexp"
	"slices"
	"strings"
)

// selector is a name with its matchers, if any.
type selector struct{ name, matchers string }

var (
	grouping = regexp.MustCompile(`\b(by|on|without|ignoring) \([^)]*\)`)
	window   = regexp.MustCompile(`\[[^\]]*\]`)
	word     = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^}]*)\})?( ?\(| )?`)
)

// selectors finds what an expression selects: every word that is no function, operator or label.
func selectors(expr string) (found []selector) {
	expr = window.ReplaceAllString(grouping.ReplaceAllString(expr, ""), "")
	for _, m := range word.FindAllStringSubmatch(expr+" ", -1) {
		operator := slices.Contains([]string{"and", "or", "unless", "sum", "count", "max", "min"}, m[1])
		if !operator && !strings.HasSuffix(m[3], "(") {
			found = append(found, selector{m[1], m[2]})
		}
	}
	return found
}

// metrics are the names that expressions select, those behind a recording rule's instead of its own.
func metrics(exprs ...string) (names []string) {
	recorded := map[string]string{}
	for _, g := range Recording {
		for _, r := range g.Rules {
			recorded[r.Record] = r.Expr
		}
	}
	for _, expr := range exprs {
		for _, s := range selectors(expr) {
			if behind, ok := recorded[s.name]; ok {
				names = append(names, metrics(behind)...)
			} else {
				names = append(names, s.name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// PanelsOf are the panels that show what an alert watches: in one query, every metric that the alert asks for; of metrics that several jobs
// have (up and those of processes), those of the alert's job.
func PanelsOf(a Alert) (list []Panel) {
	want, job := metrics(a.Expr), jobOf.FindString(a.Expr)
	for _, d := range Dashboards {
		for _, r := range d.Rows {
			for _, p := range r.Panels {
				if slices.ContainsFunc(p.Queries, func(q Query) bool {
					have := metrics(withVariables(q.Expr))
					return !slices.ContainsFunc(want, func(m string) bool { return !slices.Contains(have, m) }) && jobOf.FindString(q.Expr) == job
				}) {
					list = append(list, p)
				}
			}
		}
	}
	return list
}

var jobOf = regexp.MustCompile(`job="\w+"`)
