//! JUnit XML, as continuous integration reads it.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::lines;
use crate::test::Tested;

pub fn text(tested: &[Tested]) -> anyhow::Result<String> {
    let mut report = Report::new("careplane test");
    for tested in tested {
        let name = tested.file.path.display().to_string();
        let mut suite = TestSuite::new(name.as_str());
        for result in &tested.results {
            let status = if result.mismatches.is_empty() {
                TestCaseStatus::success()
            } else {
                let lines: Vec<String> = lines(result).collect();
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(lines.join("; ")).set_type("not as expected");
                status.set_description(format!("{}\n{}", result.case.place, lines.join("\n")));
                status
            };
            let mut case = TestCase::new(result.case.name.as_str(), status);
            case.set_classname(name.as_str());
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    Ok(report.to_string()?)
}
