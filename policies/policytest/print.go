package policytest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize/english"
)

// Text prints a line for each suite, the differences of each case that failed, and a summary. Report.Err has the errors of what could not
// run.
func Text(to io.Writer, r Report) error {
	w := new(bytes.Buffer)
	for _, s := range r {
		suite := Report{s}
		cases, failed, broken := suite.Counts()
		word := "ok"
		switch {
		case broken > 0:
			word = "ERROR"
		case failed > 0:
			word = "FAIL"
		}
		if s.Err != nil {
			fmt.Fprintf(w, "%-5s %s\n", word, s.File)
			continue
		}
		fmt.Fprintf(w, "%-5s %s: %s\n", word, s.File, english.Plural(cases, "case", ""))
		for _, result := range s.Results {
			if len(result.Differences) == 0 {
				continue
			}
			fmt.Fprintf(w, "      line %d: %q (%s)\n", result.Line, result.Name, result.Pod)
			for _, d := range result.Differences {
				fmt.Fprintf(w, "        %s\n", d)
			}
		}
	}
	cases, failed, broken := r.Counts()
	fmt.Fprintf(w, "%s: %d passed, %d failed", english.Plural(cases, "case", ""), cases-failed, failed)
	files := 0
	for _, s := range r {
		if s.Err != nil {
			files++
		}
	}
	var parts []string
	if files > 0 {
		parts = append(parts, english.Plural(files, "file", ""))
	}
	if broken > files {
		parts = append(parts, english.Plural(broken-files, "case", ""))
	}
	if len(parts) > 0 {
		fmt.Fprintf(w, "; %s could not run", strings.Join(parts, " and "))
	}
	w.WriteByte('\n')
	_, err := w.WriteTo(to)
	return err
}

// The elements of JUnit's XML, as far as all readers of it agree.
type (
	xmlReport struct {
		XMLName  xml.Name `xml:"testsuites"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Suites   []xmlSuite
	}
	xmlSuite struct {
		XMLName  xml.Name `xml:"testsuite"`
		Name     string   `xml:"name,attr"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Cases    []xmlCase
	}
	xmlCase struct {
		XMLName xml.Name    `xml:"testcase"`
		Name    string      `xml:"name,attr"`
		Class   string      `xml:"classname,attr"`
		Line    int         `xml:"line,attr,omitempty"`
		Failure *xmlMessage `xml:"failure"`
		Error   *xmlMessage `xml:"error"`
	}
	xmlMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit prints the report as the XML that CI systems read. A case that could not run is an error in it.
func JUnit(to io.Writer, r Report) error {
	report := xmlReport{Name: "kube-devops policy test"}
	for _, s := range r {
		suite := xmlSuite{Name: s.File}
		if s.Err != nil {
			suite.add(xmlCase{Name: FileName, Class: s.File, Error: message(s.Err)})
		}
		for _, result := range s.Results {
			suite.add(result.xml(s.File))
		}
		report.Tests += suite.Tests
		report.Failures += suite.Failures
		report.Errors += suite.Errors
		report.Suites = append(report.Suites, suite)
	}
	if _, err := io.WriteString(to, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(to)
	encoder.Indent("", "  ")
	if err := encoder.Encode(report); err != nil {
		return err
	}
	_, err := io.WriteString(to, "\n")
	return err
}

func (s *xmlSuite) add(c xmlCase) {
	s.Tests++
	if c.Error != nil {
		s.Errors++
	}
	if c.Failure != nil {
		s.Failures++
	}
	s.Cases = append(s.Cases, c)
}

func (r *Result) xml(file string) xmlCase {
	c := xmlCase{Name: r.Name, Class: file, Line: r.Line}
	if r.Err != nil {
		c.Error = message(r.Err)
	}
	if n := len(r.Differences); n > 0 {
		words := make([]string, n)
		for i, d := range r.Differences {
			words[i] = d.String()
		}
		c.Failure = &xmlMessage{Message: english.Plural(n, "difference", "") + " in " + r.Pod, Text: strings.Join(words, "\n")}
	}
	return c
}

func message(err error) *xmlMessage {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return &xmlMessage{Message: first, Text: err.Error()}
}
