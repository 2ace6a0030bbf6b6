package page

import "time"

// A View is one of the pages: Overview, Namespace, Waivers, Policy, Changes, NotFound, Rejected and Standby.
type View interface{ frame() frame }

// A Head is what each view says about the agent and its data.
type Head struct {
	// Time is when the data was read. Page and JSON show it in UTC.
	Time time.Time `json:"time"`
	// Cluster is the name of the cluster; empty if the agent does not know one.
	Cluster string `json:"cluster,omitempty"`
	// Scope are the namespaces that the agent watches; empty for all.
	Scope  []string  `json:"scope,omitempty"`
	Policy PolicyRef `json:"policy"`
	// Grades are the names of the policy's grades, best first. They order and mark the grades of the views.
	Grades []string `json:"grades"`
	// HistoryURL is where more than a day is kept, such as a dashboard of Prometheus; empty if the agent does not know it.
	HistoryURL string `json:"historyURL,omitempty"`
	// Version is that of the agent.
	Version string `json:"version,omitempty"`
	// Warnings are sentences about the policy, the waivers and the agent that the reader must not miss.
	Warnings []string `json:"warnings,omitempty"`
}

// A PolicyRef names a policy table.
type PolicyRef struct {
	Name string `json:"name"`
	Hash string `json:"hash"`
}

// Scores are null without data, and so are changes before there is data of that age.
type Scores struct {
	Score      *float64 `json:"score"`
	Compliance *float64 `json:"compliance"` // in percent
	Grade      *string  `json:"grade"`
	// GradeReason says why the grade is lower than that of the compliance; empty if it is not.
	GradeReason string `json:"gradeReason,omitempty"`
	// HourChange and DayChange are the compliance now minus that of an hour and a day ago, in percentage points.
	HourChange *float64 `json:"hourChange"`
	DayChange  *float64 `json:"dayChange"`
	// Trend is the compliance of the last 24 hours.
	Trend Trend `json:"trend"`
}

// Counts are numbers of pods and of violations. Violations include the unknown ones, and exclude the waived ones.
type Counts struct {
	Pods       int `json:"pods"`
	Violations int `json:"violations"`
	Waived     int `json:"waived"`
	Unknown    int `json:"unknown"`
}

// An Overview is the view of all namespaces, GET /.
type Overview struct {
	Head
	Total Total `json:"total"`
	// Query is what the reader asks for, and what was found.
	Query Query `json:"query"`
	// Namespaces are the rows of this page, in the order of the query.
	Namespaces []NamespaceRow `json:"namespaces"`
	Uncounted  Uncounted      `json:"uncounted"`
}

// A Total is the scores and counts of the cluster. They do not depend on the query.
type Total struct {
	Scores
	Counts
	Namespaces int `json:"namespaces"`
	// ByGrade counts the namespaces of each grade, in the order of Head.Grades. Namespaces without data are not in it.
	ByGrade []int `json:"byGrade"`
	// BySeverity counts the violations of each severity, the most severe first.
	BySeverity []SeverityCount `json:"bySeverity"`
}

// A SeverityCount is the number of violations of a severity.
type SeverityCount struct {
	Severity   string `json:"severity"`
	Violations int    `json:"violations"`
}

// A NamespaceRow is one namespace of the overview.
type NamespaceRow struct {
	Name string `json:"namespace"`
	Scores
	Counts
}

// Uncounted has the numbers of pods that no score includes, by the reason.
type Uncounted struct {
	// Unevaluated counts the pods that could not be evaluated.
	Unevaluated int `json:"unevaluated"`
	// Skipped are the pods that the policy skips, by reason; Excluded those of the namespaces that it excludes, by namespace.
	Skipped  []PodCount `json:"skipped"`
	Excluded []PodCount `json:"excluded"`
	// Unavailable says what the agent may not or cannot read: namespaces and checks, with the reason.
	Unavailable []Unavailable `json:"unavailable"`
}

// A PodCount is a number of pods, by a name or a reason.
type PodCount struct {
	Name string `json:"name"`
	Pods int    `json:"pods"`
}

// Unavailable is a namespace or a check that counts nowhere.
type Unavailable struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// A Namespace is the view of one namespace, GET /namespaces/NAME.
type Namespace struct {
	Head
	NamespaceRow
	// Query filters the workloads, and has their page. Its grade and sort are not used.
	Query Query `json:"query"`
	// Checks are the columns of the grid: the checks that some workload of the namespace violates, in the order of the table.
	Checks []CheckCount `json:"checks"`
	// Workloads are the rows of the grid: those with violations, most points first.
	Workloads []Workload `json:"workloads"`
	// Waivers are those that accept violations of this namespace, or could.
	Waivers   []Waiver  `json:"waivers"`
	Uncounted Uncounted `json:"uncounted"`
}

// A CheckCount is a check and its counts in a namespace, or in the cluster.
type CheckCount struct {
	Check
	Violations int `json:"violations"`
	Subjects   int `json:"subjects"`
	Waived     int `json:"waived"`
	Unknown    int `json:"unknown"`
}

// A Check describes a check of the policy.
type Check struct {
	ID          string `json:"id"`
	Category    string `json:"category,omitempty"`
	Severity    string `json:"severity"`
	Weight      int    `json:"weight"`
	Message     string `json:"message"`
	Remediation string `json:"remediation,omitempty"`
}

// A Workload is a row of the grid, and its findings.
type Workload struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Pods counts the pods with violations; Points are their penalty points.
	Pods   int `json:"pods"`
	Points int `json:"points"`
	// Cells has one element for each of Namespace.Checks.
	Cells    []Cell    `json:"cells"`
	Findings []Finding `json:"findings"`
	// MoreFindings counts the findings that the view leaves out.
	MoreFindings int `json:"moreFindings"`
}

// A Cell is the violations of one check by one workload. Violations include the unknown ones, and exclude the waived ones.
type Cell struct {
	Violations int `json:"violations"`
	Waived     int `json:"waived"`
	Unknown    int `json:"unknown"`
}

// A Finding is what one person has to fix: the violations of one check by the same subject in all pods of a workload.
type Finding struct {
	Check    string `json:"check"`
	Category string `json:"category,omitempty"`
	Severity string `json:"severity"`
	Weight   int    `json:"weight"`
	// Container is empty for a check of the pod. Subject is what the check evaluates, if that is not the container.
	Container   string `json:"container,omitempty"`
	Subject     string `json:"subject,omitempty"`
	Path        string `json:"path,omitempty"`
	Value       string `json:"value,omitempty"`
	Message     string `json:"message"`
	Remediation string `json:"remediation,omitempty"`
	// Enforce is what the API server does when the object is created, once the policies exported from the table are installed: deny, warn
	// or audit; empty if it does nothing.
	Enforce string `json:"enforce,omitempty"`
	Unknown bool   `json:"unknown,omitempty"`
	// Waiver is the id of the waiver that accepts it, until Expires; empty if it counts.
	Waiver  string     `json:"waiver,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
	// PodCount counts the pods, which can have several violations each. Pods are some of their names.
	Violations int      `json:"violations"`
	PodCount   int      `json:"podCount"`
	Pods       []string `json:"pods"`
	Points     int      `json:"points"`
	// Gain is by how many percentage points a fix raises the compliance of the namespace; null without data.
	Gain *float64 `json:"gain"`
	// GradeAfter is the grade of the namespace after the fix; empty if it stays.
	GradeAfter string `json:"gradeAfter,omitempty"`
}

// A Waiver accepts violations until it expires.
type Waiver struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
	// Source is the file, or the annotation of a workload.
	Source  string    `json:"source,omitempty"`
	Expires time.Time `json:"expires"`
	Expired bool      `json:"expired"`
	// Days are the whole days until it expires; negative once it has expired.
	Days int `json:"days"`
	// Selects are the conditions of the waiver, such as "namespace" "shop-*". None: everything.
	Selects []Condition `json:"selects"`
	// Violations counts what it accepts now, or what counts again if it has expired.
	Violations int `json:"violations"`
	// SupersededBy is the id of a waiver that accepts the same until later; empty for none.
	SupersededBy string `json:"supersededBy,omitempty"`
}

// A Condition is a field of a waiver and what it demands.
type Condition struct {
	Field string `json:"field"`
	Value string `json:"value"`
}

// Waivers is the view of all waivers, GET /waivers.
type Waivers struct {
	Head
	// Query filters the waivers, and has their page. Its grade and sort are not used.
	Query Query `json:"query"`
	// Waived counts the violations that waivers accept now.
	Waived int `json:"waived"`
	// CountAgain counts the violations that only waivers accepted that have expired.
	CountAgain int `json:"countAgain"`
	// Waivers are those that expire first, first.
	Waivers []Waiver `json:"waivers"`
	// Mistakes are annotations that accept nothing, each with its place.
	Mistakes []string `json:"mistakes,omitempty"`
}

// Policy is the view of the policy table, GET /policy.
type Policy struct {
	Head
	Description string `json:"description,omitempty"`
	// Source is the file or the name that the table was read from, and Loaded when; null if it is unknown.
	Source  string     `json:"source,omitempty"`
	Loaded  *time.Time `json:"loaded,omitempty"`
	Extends []string   `json:"extends,omitempty"`
	// ReloadError is why a newer file is not in force; empty if it is.
	ReloadError string        `json:"reloadError,omitempty"`
	Checks      []PolicyCheck `json:"checks"`
	GradeRules  []GradeRule   `json:"gradeRules"`
	// IncludedNamespaces and ExcludedNamespaces are patterns. No included ones: all.
	IncludedNamespaces []string `json:"includedNamespaces"`
	ExcludedNamespaces []string `json:"excludedNamespaces"`
	// Skips are sentences that say which pods the policy skips.
	Skips []string `json:"skips,omitempty"`
	// Text is the table in YAML; empty if the page does not show it.
	Text string `json:"text,omitempty"`
}

// A PolicyCheck is a check of the table, with its counts in the cluster.
type PolicyCheck struct {
	CheckCount
	// Condition says in words what a violation is; Text is the check in YAML.
	Condition string `json:"condition,omitempty"`
	Text      string `json:"text,omitempty"`
	Enforce   string `json:"enforce,omitempty"`
}

// A GradeRule is a grade of the table.
type GradeRule struct {
	Name string `json:"name"`
	// Min is the least compliance, in percent.
	Min float64 `json:"min"`
	// MaxSeverity is the worst severity that the grade allows; empty for any.
	MaxSeverity string `json:"maxSeverity,omitempty"`
	// Namespaces counts those that have the grade.
	Namespaces int `json:"namespaces"`
}

// Changes is the view of the last violations that were opened and resolved, GET /changes.
type Changes struct {
	Head
	// Query filters the changes. Its grade, sort and page are not used.
	Query Query `json:"query"`
	// Since is when this agent began to record changes: when it became the leader, at the latest.
	Since time.Time `json:"since"`
	// Most is how many changes the agent keeps.
	Most int `json:"most"`
	// Changes are the newest first.
	Changes []Change `json:"changes"`
}

// A Change is a violation that was opened or resolved.
type Change struct {
	Time time.Time `json:"time"`
	// Opened is false if the violation was resolved.
	Opened    bool   `json:"opened"`
	Namespace string `json:"namespace"`
	Workload  string `json:"workload,omitempty"`
	Pod       string `json:"pod"`
	Check     string `json:"check"`
	Severity  string `json:"severity"`
	// Container and Subject say where in the pod; empty for the pod, or if several subjects of it changed.
	Container string `json:"container,omitempty"`
	Subject   string `json:"subject,omitempty"`
	Unknown   bool   `json:"unknown,omitempty"`
	// Reason says why, if it was not a change of the pod: the pod is gone, a waiver expired, the policy changed.
	Reason string `json:"reason,omitempty"`
}

// NotFound is the answer to /namespaces/NAME where the agent counts no pods of a namespace with that name.
type NotFound struct {
	Head
	Name string `json:"namespace"`
	// Reason says why, if the agent knows: the policy excludes it, or the agent does not watch it.
	Reason string `json:"reason,omitempty"`
	// Near are namespaces with similar names.
	Near []string `json:"near"`
}

// Rejected is the answer to a request whose parameters the agent does not understand.
type Rejected struct {
	Head
	// Path is that of the view below the root: "" or "waivers"; "namespaces/" for any namespace.
	Path string `json:"path"`
	// Reason is what is wrong with the parameters, without a period.
	Reason string `json:"reason"`
}

// A Standby is the whole page of a replica that does not lead. It has no data.
type Standby struct {
	// Replica is the identity of this one, and Leader that of the one that leads; empty if the Lease names none.
	Replica string `json:"replica"`
	Leader  string `json:"leader,omitempty"`
	// URL is the address of the leader's page; empty if the agent does not know one.
	URL string `json:"url,omitempty"`
	// Command is how to reach the leader from a terminal; empty if it is not known.
	Command string `json:"command,omitempty"`
	// Reason says why this replica has no data though the Lease names none else: it is not in sync yet.
	Reason string `json:"reason,omitempty"`
	// From is when this replica, which holds the Lease, publishes; null if it does not hold it, or does not know.
	From *time.Time `json:"from,omitempty"`
}
