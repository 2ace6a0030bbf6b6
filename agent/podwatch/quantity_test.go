package podwatch

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"

	"github.com/kube-devops/kube-devops/rules"
)

// TestQuantitiesMatchKubernetes compares the quantities of a policy table with those of apimachinery, which the
// rules may not import: which texts are quantities, and which quantity is greater.
//
// apimachinery rounds to a billionth, away from zero; the rules are exact. So it may find two quantities equal where
// the rules find one greater, but not the reverse, and they agree if neither is rounded. A quantity that it cuts
// to 2^63-1, only with a binary suffix, is less than one that it does not cut: such quantities are not compared.
func TestQuantitiesMatchKubernetes(t *testing.T) {
	number := rapid.StringMatching(`[-+]?([0-9]{1,12}(\.[0-9]{0,9})?|\.[0-9]{1,9})`)
	suffix := rapid.SampledFrom([]string{"", "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E3", "e-3", "E+06", "e0", "e18"})
	noise := rapid.StringMatching(`[-+]?[0-9.]{0,4}[-+ numkKMGTPEei0-9]{0,3}`)
	quantity := rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			return noise.Draw(t, "noise")
		case 1, 2, 3, 4:
			return rapid.SampledFrom([]string{"0", "-0", "1", "1000m", "1e0", "1024", "1Ki", "1.024k", "0.5", "500m", "500000u", "1Gi", "1073741824", "8Ei", "9223372036854775807", "9223372036854775808",
				"1n", "0.1n", "0.000000001", "0.0000000011", "16Ei", "-8Ei", "-0.1n", "1E", "1E1", "1000P"}).Draw(t, "known")
		}
		return number.Draw(t, "number") + suffix.Draw(t, "suffix")
	})
	compared, equal, refused := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			left, right := quantity.Draw(t, "left"), quantity.Draw(t, "right")
			leftQuantity, leftErr := parseQuantity(left)
			rightQuantity, rightErr := parseQuantity(right)
			order, leftOK, rightOK := orderOf(t, left, right)
			if (leftErr == nil) != leftOK || (rightErr == nil) != rightOK {
				t.Fatalf("apimachinery: %q %v, %q %v; the rules take them for quantities: %t, %t", left, leftErr, right, rightErr, leftOK, rightOK)
			}
			if leftErr != nil || rightErr != nil {
				refused++
				continue
			}
			if isCut(leftQuantity, left) || isCut(rightQuantity, right) {
				continue
			}
			want := leftQuantity.Cmp(rightQuantity)
			if want != order && (want != 0 || isExact(left) && isExact(right)) {
				t.Fatalf("the order of %q and %q is %d; apimachinery has %d", left, right, order, want)
			}
			compared++
			if want == 0 {
				equal++
			}
		}
	})
	t.Logf("%d compared, %d of them equal, %d refused", compared, equal, refused)
	if compared < refused || equal < compared/100 || refused < compared/100 {
		t.Error("one side is hardly tried")
	}
}

var beginsWithNumber = regexp.MustCompile(`^[-+]?\.?[0-9]`)

// parseQuantity is that of apimachinery, except that texts without a number, which it takes for 0, are errors.
func parseQuantity(text string) (resource.Quantity, error) {
	if !beginsWithNumber.MatchString(text) {
		return resource.Quantity{}, fmt.Errorf("%q has no number", text)
	}
	return resource.ParseQuantity(text)
}

// orderOf returns the order of two quantities by a policy table, and whether each is a quantity.
func orderOf(t *rapid.T, left, right string) (order int, leftOK, rightOK bool) {
	// Every quantity is greater than this one.
	const least = "-1e90"
	table, err := rules.Load("table", []byte(fmt.Sprintf(`{"apiVersion": "kube-devops.io/v1", "kind": "PolicyTable", "metadata": {"name": "t"}, "checks": [
		{"id": "left", "weight": 1, "violation": {"path": "left", "operator": "quantityGreaterThan", "value": %q}},
		{"id": "right", "weight": 1, "violation": {"path": "right", "operator": "quantityGreaterThan", "value": %q}}]}`, least, least)))
	if err != nil {
		t.Fatal(err)
	}
	pod := []byte(fmt.Sprintf(`{"left": %q, "right": %q}`, left, right))
	verdict, err := table.Evaluate(pod)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range verdict.Violations {
		leftOK, rightOK = leftOK || v.Check == 0, rightOK || v.Check == 1
	}
	table, err = rules.Load("table", []byte(fmt.Sprintf(`{"apiVersion": "kube-devops.io/v1", "kind": "PolicyTable", "metadata": {"name": "t"}, "checks": [
		{"id": "greater", "weight": 1, "violation": {"path": "left", "operator": "quantityGreaterThan", "value": %[1]q}},
		{"id": "less", "weight": 1, "violation": {"path": "left", "operator": "quantityLessThan", "value": %[1]q}}]}`, right)))
	if (err == nil) != rightOK {
		t.Fatalf("%q is a quantity in a pod: %t, and in a table: %v", right, rightOK, err)
	}
	if err != nil {
		return 0, leftOK, rightOK
	}
	if verdict, err = table.Evaluate(pod); err != nil {
		t.Fatal(err)
	}
	for _, v := range verdict.Violations {
		order = 1 - 2*v.Check
	}
	return order, leftOK, rightOK
}

var numberAndSuffix = regexp.MustCompile(`^[-+]?[0-9]*(?:\.([0-9]*))?(?:[eE]([-+]?[0-9]+)|([A-Za-z]*))$`)

// isExact reports whether a text has no more decimals than apimachinery keeps.
func isExact(text string) bool {
	m := numberAndSuffix.FindStringSubmatch(text)
	exponent, _ := strconv.Atoi(m[2])
	return len(m[1])-exponent+map[string]int{"m": 3, "u": 6, "n": 9}[m[3]] <= 9
}

// isCut reports whether apimachinery may have cut a quantity to its maximum with a binary suffix.
func isCut(quantity resource.Quantity, text string) bool {
	return strings.HasSuffix(text, "i") && (quantity.CmpInt64(math.MaxInt64) == 0 || quantity.CmpInt64(-math.MaxInt64) == 0)
}
