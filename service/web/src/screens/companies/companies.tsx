/** The list of companies, and the one that is open. */

import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { type Company, listCompanies } from "../../api";
import { Heading } from "../../parts/heading";
import { Icon } from "../../parts/icons";
import { Loading, NotFound, Plate, ProblemPlate } from "../../parts/states";
import { useDialog } from "../../parts/use-dialog";
import { Link } from "../../route";
import { useSession } from "../../session";
import { useWords } from "../../words/words";
import { CompanyMenu } from "./change-company";
import { DraftForm } from "./draft-form";
import { Drafts } from "./drafts";
import { LinkedRooms } from "./linked-rooms";
import { NewCompany } from "./new-company";
import { OwnDrafts } from "./own-drafts";

export const COMPANIES = ["companies"];

export function CompaniesScreen({ id }: { id: string | null }) {
  const words = useWords();
  const { mayChange } = useSession();
  const adding = useDialog("add");
  const {
    data: companies,
    error,
    refetch,
  } = useQuery({ queryKey: COMPANIES, queryFn: ({ signal }) => listCompanies(signal) });
  const company = companies?.find((one) => one.id === id);
  return (
    <>
      <Heading title={words.companies} intro={words.companiesIntro}>
        {mayChange && (
          <button type="button" className="button" onClick={() => adding.open()}>
            <Icon name="plus" /> {words.newCompany}
          </button>
        )}
      </Heading>
      {!companies && (error ? <ProblemPlate error={error} again={() => void refetch()} /> : <Loading rows={5} />)}
      {companies?.length === 0 && (
        <Plate icon="companies" title={words.noCompanies}>
          {words.noCompaniesText}
        </Plate>
      )}
      {companies && companies.length > 0 && (
        <div className={`companies${id ? " companies-open" : ""}`}>
          <CompanyList companies={companies} id={id} />
          {company ? (
            <CompanyPanel key={company.id} company={company} />
          ) : id ? (
            <NotFound list="/companies" />
          ) : (
            <OwnDrafts companies={companies} />
          )}
        </div>
      )}
      {mayChange && adding.isOpen && <NewCompany onClose={adding.close} />}
    </>
  );
}

const SEARCH_FROM = 8;

function CompanyList({ companies, id }: { companies: Company[]; id: string | null }) {
  const words = useWords();
  const [search, setSearch] = useState("");
  const [all, setAll] = useState(false);
  const archived = companies.filter(({ archivedAt }) => archivedAt !== null).length;
  const found = companies.filter(
    (company) =>
      (all || !company.archivedAt || company.id === id) &&
      company.name.toLowerCase().includes(search.trim().toLowerCase()),
  );
  return (
    <nav className="company-list" aria-label={words.companies}>
      {companies.length >= SEARCH_FROM && (
        <label className="search">
          <Icon name="search" />
          <input
            type="search"
            aria-label={words.searchCompanies}
            placeholder={words.searchCompanies}
            value={search}
            onChange={(event) => setSearch(event.target.value)}
          />
        </label>
      )}
      <ul>
        {found.map((company) => (
          <li key={company.id}>
            <Link to={`/companies/${company.id}`} {...(company.id === id ? { "aria-current": "page" as const } : {})}>
              {company.name}
            </Link>
          </li>
        ))}
      </ul>
      {found.length === 0 && <p className="faint">{words.noCompanyMatches}</p>}
      {archived > 0 && (
        <label className="show-archived">
          <input type="checkbox" checked={all} onChange={(event) => setAll(event.target.checked)} />
          {words.showArchived(archived)}
        </label>
      )}
    </nav>
  );
}

function CompanyPanel({ company }: { company: Company }) {
  const words = useWords();
  const { isAdmin, mayChange } = useSession();
  return (
    <article className="company" aria-labelledby="company-name">
      <Link className="crumb company-back" to="/companies">
        <Icon name="previous" size={14} /> {words.toList}
      </Link>
      <div className="company-head">
        <h2 id="company-name" className="company-name">
          {company.name}
        </h2>
        {isAdmin && <CompanyMenu company={company} />}
      </div>
      {company.archivedAt && (
        <p className="note" role="status">
          <Icon name="info" /> {words.archivedNote}
        </p>
      )}
      <LinkedRooms company={company} />
      {mayChange && !company.archivedAt && <DraftForm company={company} />}
      <Drafts company={company} />
    </article>
  );
}
