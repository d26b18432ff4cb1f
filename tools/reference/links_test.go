package reference

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// guide is the page whose statements rest on measurements.
const guide = "profiles/tuning/README.md"

var (
	link    = regexp.MustCompile(`\[([^\]]+)\]\(([^)#]*)(#[^)]*)?\)`)
	heading = regexp.MustCompile(`^#+ (.*)$`)
	bold    = regexp.MustCompile(`^\*\*([^*]+?)[.:,]?\*\*`)
	unsaid  = regexp.MustCompile("[^a-z0-9 _-]")
)

// page is what can be linked to in a Markdown file.
type page struct {
	text     string
	sections map[string]string // by anchor: the text up to the next heading
}

func read(t *testing.T, path string) page {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := page{string(b), map[string]string{}}
	at, fenced := "", false
	for line := range strings.Lines(p.text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if m := heading.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil && !fenced {
			at = anchor(m[1])
			continue
		}
		p.sections[at] += line
	}
	return p
}

// anchor is the name that GitHub gives a heading.
func anchor(title string) string {
	return "#" + strings.ReplaceAll(unsaid.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
}

// paragraphs are the names that paragraphs of a section begin with, in bold.
func paragraphs(section string) map[string]bool {
	found := map[string]bool{}
	for line := range strings.Lines(section) {
		if m := bold.FindStringSubmatch(line); m != nil {
			found[m[1]] = true
		}
	}
	return found
}

// broken lists what is wrong with a page's statements, which are the items of its lists, and with its links.
func broken(t *testing.T, path string) (list []string) {
	t.Helper()
	p, dir, pages := read(t, path), filepath.Dir(path), map[string]page{}
	for at, section := range p.sections {
		for _, item := range strings.Split("\n"+section, "\n- ")[1:] {
			first, _, _ := strings.Cut(item, "\n")
			evidence := 0
			for _, m := range link.FindAllStringSubmatch(item, -1) {
				if strings.HasSuffix(m[2], "RESULTS.md") || strings.HasSuffix(m[2], "ARCHITECTURE.md") {
					evidence++
				}
			}
			if evidence == 0 {
				list = append(list, at+": "+first+": rests on nothing in RESULTS.md or ARCHITECTURE.md")
			}
		}
	}
	for _, m := range link.FindAllStringSubmatch(p.text, -1) {
		target := filepath.Join(dir, m[2])
		if m[3] == "" {
			if _, err := os.Stat(target); err != nil {
				list = append(list, m[0]+": "+err.Error())
			}
			continue
		}
		if _, ok := pages[target]; !ok {
			pages[target] = read(t, target)
		}
		section, ok := pages[target].sections[m[3]]
		switch {
		case !ok:
			list = append(list, m[0]+": there is no such section")
		case m[3] == "#8-measured-and-decided" && !paragraphs(section)[m[1]]: // long: the paragraph is meant
			list = append(list, m[0]+": no paragraph there has that name")
		}
	}
	return list
}

func TestGuideRestsOnMeasurements(t *testing.T) {
	for _, problem := range broken(t, filepath.Join(root, guide)) {
		t.Errorf("%s: %s", guide, problem)
	}
}

func TestBrokenLinks(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"ARCHITECTURE.md": "# A\n\n## 8. Measured, and decided\n\n**Disks.** Fast.\n\n```\n# no heading\n```\n",
		"guide.md": "# G\n\n- good: [Disks](ARCHITECTURE.md#8-measured-and-decided)\n- alone\n- [Tapes](ARCHITECTURE.md#8-measured-and-decided)\n" +
			"- [x](ARCHITECTURE.md#9-gone)\n- [n](ARCHITECTURE.md#no-heading)\n\n[file](none.md)\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := strings.Join(broken(t, filepath.Join(dir, "guide.md")), "\n")
	for _, want := range []string{"alone: rests on nothing", "[Tapes](ARCHITECTURE.md#8-measured-and-decided): no paragraph", "#9-gone): there is no such", "#no-heading): there is no such", "[file](none.md)"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "good") || strings.Count(got, "\n") != 4 {
		t.Errorf("more than what is wrong:\n%s", got)
	}
}
