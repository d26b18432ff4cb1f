package live

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ackline/dashboards"
)

// later are the panels that nothing is to be seen on before something goes wrong, and what must.
var later = map[string]string{
	"Errors":                  "clients ask for what is not there",
	"Errors for each request": "clients ask for what is not there",
	"Failures":                "a node is killed",
	"Throttle time":           "a disk is full", // in the long test
}

// query is one of a panel's, or a recording rule.
type query struct{ where, title, expr string }

func queries() (list []query) {
	for _, d := range dashboards.Dashboards {
		for _, r := range d.Rows {
			for _, p := range r.Panels {
				for _, q := range p.Queries {
					list = append(list, query{d.UID + "/" + r.Title + "/" + p.Title + "/" + q.Legend, p.Title, q.Expr})
				}
			}
		}
	}
	for _, g := range dashboards.Recording {
		for _, r := range g.Rules {
			list = append(list, query{r.Record, "", r.Expr}, query{r.Record, "", r.Record})
		}
	}
	return list
}

// look takes from unanswered what has an answer now.
func (s *stack) look(unanswered []query) []query {
	s.t.Helper()
	return slices.DeleteFunc(unanswered, func(q query) bool { return len(finite(s.prom.ask(q.expr))) > 0 })
}

// diskless: no file system of this machine is one that the rules look at (a container's may be an overlay), and none was mounted.
func (s *stack) diskless() bool {
	fs := s.prom.ask(`node_filesystem_avail_bytes`)
	return len(fs) > 0 && !slices.ContainsFunc(fs, func(x sample) bool { return x.labels["fstype"] != "overlay" && x.labels["fstype"] != "tmpfs" })
}

// TestEveryAlertHasAFault: no alert is left out.
func TestEveryAlertHasAFault(t *testing.T) {
	seen := map[string]sight{}
	for _, in := range incidents {
		for _, x := range in.sights {
			if _, twice := seen[x.alert]; twice {
				t.Errorf("%s is looked for twice", x.alert)
			}
			seen[x.alert] = x
		}
	}
	for _, g := range dashboards.Alerts {
		for _, a := range g.Alerts {
			x, ok := seen[a.Name]
			if !ok {
				t.Errorf("%s: nothing is done to see it", a.Name)
			} else if !slices.ContainsFunc(dashboards.PanelsOf(a), func(p dashboards.Panel) bool { return p.Title == x.panel }) {
				t.Errorf("%s: %q shows nothing of what it watches", a.Name, x.panel)
			}
			delete(seen, a.Name)
		}
	}
	for name := range seen {
		t.Errorf("there is no alert %s", name)
	}
}

// TestLive is everything: what must be seen of a cluster that is well, and then of each fault.
func TestLive(t *testing.T) {
	long := os.Getenv("ACKLINE_NIGHTLY") != ""
	began := time.Now()
	phase := func(what string) {
		t.Logf("%.1f s: %s", time.Since(began).Seconds(), what)
		began = time.Now()
	}
	s := newStack(t, long)
	phase("everything runs")
	unanswered := queries()
	early := func() (list []string) {
		for _, q := range unanswered {
			if later[q.title] == "" && !strings.Contains(q.where, "produce_errors") && !(q.title == "Disk space left" && s.diskless()) {
				list = append(list, q.where+": "+q.expr)
			}
		}
		return list
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if unanswered = s.look(unanswered); len(early()) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no answer under load:\n%s", strings.Join(early(), "\n"))
		}
	}
	phase("every panel has an answer")
	trouble, rules := s.prom.ruleTrouble()
	if len(trouble) > 0 || rules == 0 {
		t.Errorf("of %d rules Prometheus could not evaluate:\n%s", rules, strings.Join(trouble, "\n"))
	}
	for _, in := range incidents {
		if !long && !in.short {
			continue
		}
		if !s.suffer(in, long) {
			return
		}
		phase(in.name + ": seen, and mended")
		unanswered = s.look(unanswered)
	}
	never := func(q query) bool {
		return !(later[q.title] == "a disk is full" && !long) && !(q.title == "Disk space left" && s.diskless())
	}
	for deadline := time.Now().Add(patience); slices.ContainsFunc(unanswered, never) && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		unanswered = s.look(unanswered) // what a load tells is a second and a half old
	}
	for _, q := range unanswered {
		if never(q) {
			t.Errorf("never an answer, also not after %q: %s: %s", later[q.title], q.where, q.expr)
		}
	}
	if trouble, _ := s.prom.ruleTrouble(); len(trouble) > 0 {
		t.Errorf("at the end Prometheus could not evaluate:\n%s", strings.Join(trouble, "\n"))
	}
	select {
	case <-s.load.exited:
		t.Errorf("the load has ended: %s", s.load.said())
	default:
	}
}

// recall is how long a bad start stays in an average, while a cluster is waited for to be well.
const recall = 10 * time.Second

// suffer brings a fault about and waits until all of it is seen, panels and alerts.
func (s *stack) suffer(in incident, long bool) bool {
	s.t.Helper()
	var labels map[string]string
	if in.on != nil {
		labels = in.on(s)
	}
	shown := func(x sight) (moved bool, values []float64) {
		for _, q := range panel(s.t, x).Queries {
			for _, v := range finite(s.prom.ask(q.Expr)) {
				if within(v.labels, labels) {
					values = append(values, v.value)
					moved = moved || x.moved(v.value)
				}
			}
		}
		return moved, values
	}
	var forgot time.Time
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if in.fresh && time.Since(forgot) > recall {
			s.prom.forget()
			forgot = time.Now()
		}
		notWell := ""
		for _, x := range in.sights {
			moved, values := shown(x)
			if active := s.prom.alerts(labels)[x.alert]; moved || active != "" || len(values) == 0 && later[x.panel] == "" {
				notWell = fmt.Sprintf("%s is %q and %q shows %v", x.alert, active, x.panel, values)
			}
		}
		if notWell == "" {
			break
		}
		if time.Now().After(deadline) {
			s.t.Errorf("%s: for %v before it, %s", in.name, patience, notWell)
			return false
		}
	}
	heal := in.inject(s)
	defer heal()
	panels, alerts := map[string]bool{}, map[string]bool{}
	var last string
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		active, missing := s.prom.alerts(labels), 0
		for _, x := range in.sights {
			moved, values := shown(x)
			panels[x.alert] = panels[x.alert] || moved
			alerts[x.alert] = alerts[x.alert] || active[x.alert] == "firing" || active[x.alert] != "" && !(long && in.fires)
			if !panels[x.alert] || !alerts[x.alert] {
				missing++
				last = fmt.Sprintf("%s is %q (seen: %t); %q shows %v (moved: %t)", x.alert, active[x.alert], alerts[x.alert], x.panel, values, panels[x.alert])
			}
		}
		if missing == 0 {
			return true
		}
		if time.Now().After(deadline) {
			s.t.Errorf("%s: after %v %s", in.name, patience, last)
			return false
		}
	}
}

// panel is the one of that title which shows what the alert watches.
func panel(t *testing.T, x sight) dashboards.Panel {
	for _, g := range dashboards.Alerts {
		for _, a := range g.Alerts {
			for _, p := range dashboards.PanelsOf(a) {
				if a.Name == x.alert && p.Title == x.panel {
					return p
				}
			}
		}
	}
	t.Fatalf("%s has no panel %q", x.alert, x.panel)
	return dashboards.Panel{}
}
