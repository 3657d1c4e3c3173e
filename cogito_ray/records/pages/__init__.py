"""Pages made from records: report, analysis and notebook, with their charts and templates."""
